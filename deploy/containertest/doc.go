// Package containertest runs the whole path against a real NATS server in a
// container: the built program serves, makes a key, publishes a file and
// answers pages, before, while and after the NATS server is killed; and then
// our own image does the same as a user without rights. Another test kills and
// pauses the server while a large file is being published. A third one pastes the
// README's lines on replicas into a shell, which start deploy/compose.yaml. A fourth
// one stops, pauses and cuts off the servers of a cluster of three, and restarts the
// replicas that read from it, in an order that a seed gives: -chaos.rounds of it.
//
// It needs a Docker engine and the image of a NATS server, by default the
// official one, otherwise what ASSIGNDEX_TEST_NATS_IMAGE names
// (deploy/nats-image/build makes one without pulling); the Compose file needs curl, a
// Compose command and the image of a proxy as well (ASSIGNDEX_TEST_PROXY_IMAGE,
// deploy/proxy-image/build). Where either is missing
// the test says so and is skipped. TESTCONTAINERS_HOST_OVERRIDE names the host
// on which containers publish their ports, where the library guesses wrong.
//
// It refuses to look inside: everything goes through commands, HTTP and
// containers, so that it holds for any way the program is built.
package containertest
