package containertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
)

const (
	defaultProxyImage = "caddy:2.11"
	proxyImageEnv     = "ASSIGNDEX_TEST_PROXY_IMAGE"
	// composed is how long all lines of the README may take.
	composed = 5 * time.Minute
)

// TestReadmeReplicas pastes the lines of the README's "Replicas" into a shell in the
// repository and compares what they print with what the README says.
func TestReadmeReplicas(t *testing.T) {
	provider := engine(t)
	images := []string{"NATS_IMAGE=" + natsImage(t, provider), "PROXY_IMAGE=" + pulled(t, provider, proxyImageEnv, defaultProxyImage)}
	path := composePath(t)
	script, promised := readmeReplicas(t)

	project := "assigndextest" + strconv.Itoa(os.Getpid())
	image := project + ":test"
	env := append(cleanEnv(), images...)
	env = append(env, "PATH="+path, "COMPOSE_PROJECT_NAME="+project, "ASSIGNDEX_IMAGE="+image, fmt.Sprintf("ASSIGNDEX_PORT=%d", freePort(t)))
	c := composition{env: env}
	dir := imageContext(t, provider)
	t.Cleanup(func() { c.sh(t, "docker image rm --force "+image) })
	c.must(t, "docker build --quiet -f "+filepath.Join(dir, "Dockerfile.binary")+" -t "+image+" "+dir, "")
	t.Cleanup(func() { c.end(t) })

	out := c.must(t, "sh -e", script)
	for _, want := range promised {
		if !strings.Contains(out, want) {
			t.Errorf("the README promises\n%s\nbut the lines print\n%s", want, out)
		}
	}
	if got := strings.Count(out, "aaron.fischer  Web_Shared_Edit"); got != 2 {
		t.Errorf("the listing was printed %d times, want one from each replica:\n%s", got, out)
	}
	for _, kind := range []string{"container ls -a", "network ls", "volume ls"} {
		if left := c.must(t, "docker "+kind+" -q --filter label=com.docker.compose.project="+project, ""); left != "" {
			t.Errorf("down has left (%s): %s", kind, left)
		}
	}
}

// readmeReplicas gives the lines to paste and what they are to print.
func readmeReplicas(t *testing.T) (script string, promised []string) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "\n## Replicas\n")
	if !ok {
		t.Fatal("the README has no section \"Replicas\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		if block[1] == "sh" {
			script += block[2]
		} else {
			promised = append(promised, block[2])
		}
	}
	for _, match := range regexp.MustCompile("prints `(.*)`").FindAllStringSubmatch(section, -1) {
		promised = append(promised, match[1])
	}
	if strings.Count(script, "docker compose") < 5 || len(promised) != 2 {
		t.Fatalf("the section has these lines, and %d promises:\n%s", len(promised), script)
	}
	return script, promised
}

// composePath gives a PATH with which "docker compose" works. Where the plugin is not
// installed, the older docker-compose stands in for it.
func composePath(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("the README's lines need curl: %v", err)
	}
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Skipf("the README's lines need the docker command: %v", err)
	}
	path := os.Getenv("PATH")
	plugin := exec.CommandContext(t.Context(), docker, "compose", "version").Run()
	if plugin == nil {
		return path
	}
	older, err := exec.LookPath("docker-compose")
	if err != nil {
		t.Skipf("neither docker compose (%v) nor docker-compose is installed: %v", plugin, err)
	}
	dir := t.TempDir()
	wrapper := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = compose ]; then shift; exec %s \"$@\"; fi\nexec %s \"$@\"\n", older, docker)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(wrapper), 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	return dir + string(os.PathListSeparator) + path
}

// pulled gives an image that a variable names, or the default, pulled where it is
// absent, and skips the test where it cannot be had.
func pulled(t *testing.T, provider *testcontainers.DockerProvider, variable, image string) string {
	t.Helper()
	if named := os.Getenv(variable); named != "" {
		image = named
	}
	if _, absent := provider.Client().ImageInspect(t.Context(), image); absent == nil {
		return image
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := provider.PullImage(ctx, image); err != nil {
		t.Skipf("the image %s is neither here nor can it be pulled (%s names another): %v", image, variable, err)
	}
	return image
}

// composition is what the Compose file starts, under a name of the test's own.
type composition struct{ env []string }

// must runs a command in the repository, which must succeed, and gives what it printed
// on standard output.
func (c composition) must(t *testing.T, command, input string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), composed)
	defer cancel()
	out, complaints, err := c.run(ctx, command, input)
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", command, err, out, complaints)
	}
	return out
}

// sh runs a command after the test.
func (c composition) sh(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), composed)
	defer cancel()
	out, complaints, err := c.run(ctx, command, "")
	if err != nil {
		t.Errorf("%s: %v\n%s", command, err, complaints)
	}
	return out
}

func (c composition) run(ctx context.Context, command, input string) (out, complaints string, err error) {
	shell := exec.CommandContext(ctx, "sh", "-c", command) //nolint:gosec // the test's own commands
	shell.Dir = filepath.Join("..", "..")
	shell.Env = c.env
	shell.Stdin = strings.NewReader(input)
	shell.WaitDelay = 10 * time.Second // children may keep its output open
	var printed, said bytes.Buffer
	shell.Stdout, shell.Stderr = &printed, &said
	err = shell.Run()
	return printed.String(), said.String(), err
}

// end removes whatever is left, however the test has ended, and shows the logs of one that failed.
func (c composition) end(t *testing.T) {
	t.Helper()
	const compose = "docker compose -f deploy/compose.yaml "
	if t.Failed() {
		t.Logf("logs:\n%s", c.sh(t, compose+"logs --no-color --tail 200"))
	}
	c.sh(t, compose+"down --volumes --remove-orphans --timeout 5")
}
