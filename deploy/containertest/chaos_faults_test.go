package containertest

import (
	"fmt"
)

// away is how many events are published while a server is gone. When it led, the
// others elect another one first, which takes them some seconds.
const away = 60

// fault is one that passes. It is over when inject returns what it was.
type fault struct {
	name   string
	inject func() (what string)
}

// faults gives them in the order in which they come.
func (c *chaos) faults() (all []fault) {
	kinds := []fault{
		{"stop a server and start it", c.stopServer},
		{"pause a server", c.pauseServer},
		{"cut a server off and put it back", c.cutServer},
		{"the stream's leader steps down", c.changeStreamLeader},
		{"the cluster's leader steps down", c.changeMetaLeader},
		{"restart the replicas in turn", c.rollReplicas},
		{"restart the servers in turn", c.rollServers},
	}
	rounds := max(1, *chaosRounds)
	for range rounds {
		c.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		all = append(all, kinds...)
	}
	if *chaosRounds == 0 {
		all = all[:fewFaults]
	}
	return all
}

// victim chooses a server, and the stream's leader more often than not.
func (c *chaos) victim() (node int, what string) {
	leader := c.cluster.leader(c.T)
	node = leader
	if c.rng.IntN(3) == 0 {
		node = c.rng.IntN(len(c.cluster.nodes))
	}
	what = c.cluster.nodes[node].name
	if node == leader {
		what += ", which leads the stream"
	}
	return node, what
}

func (c *chaos) stopServer() string {
	node, what := c.victim()
	kill := c.rng.IntN(2) == 0
	c.cluster.stop(c.T, node, kill)
	c.source.ahead(c.T, away)
	c.cluster.start(c.T, node)
	return fmt.Sprintf("%s, killed: %v", what, kill)
}

func (c *chaos) pauseServer() string {
	node, what := c.victim()
	c.cluster.pause(c.T, node)
	c.caughtUp(c.source.ahead(c.T, away))
	c.cluster.unpause(c.T, node)
	return what
}

func (c *chaos) cutServer() string {
	node, what := c.victim()
	c.cluster.cut(c.T, node)
	c.source.ahead(c.T, away)
	c.cluster.join(c.T, node)
	return what
}

func (c *chaos) changeStreamLeader() string {
	stepDown(c.T, c.source.js.Conn(), "$JS.API.STREAM.LEADER.STEPDOWN."+streamName)
	c.source.ahead(c.T, away)
	return "to " + c.cluster.nodes[c.cluster.leader(c.T)].name
}

func (c *chaos) changeMetaLeader() string {
	stepDown(c.T, c.cluster.system, "$JS.API.META.LEADER.STEPDOWN")
	c.source.ahead(c.T, away)
	return "done"
}

func (c *chaos) rollReplicas() string {
	kill := c.rng.IntN(2) == 0
	for _, r := range c.replicas {
		r.restart(c.T, kill)
		c.caughtUp(c.source.ahead(c.T, away))
	}
	return fmt.Sprintf("killed: %v", kill)
}

func (c *chaos) rollServers() string {
	for i := range c.cluster.nodes {
		c.cluster.stop(c.T, i, false)
		c.cluster.start(c.T, i)
		c.cluster.inSync(c.T)
	}
	return "done"
}
