package embed

import (
	"container/list"
	"sync"
)

// maxClients is how many clients of tenants are kept ready.
const maxClients = 256

// clients keeps clients ready, one for a name, up to a bound; the one not used longest
// is closed first. Safe for concurrent use.
type clients struct {
	most int

	mu     sync.Mutex
	byName map[own]*list.Element // of *kept
	recent *list.List            // the last used first
}

type kept struct {
	name    own
	edition string
	client  Client
}

func newClients(most int) *clients {
	return &clients{most: most, byName: map[own]*list.Element{}, recent: list.New()}
}

// get returns the client of an edition of a name, or opens it in the place of an
// earlier one. open asks no server, so that others may wait for it.
func (c *clients) get(name own, edition string, open func() (Client, error)) (Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.byName[name]; ok {
		if k := at.Value.(*kept); k.edition == edition {
			c.recent.MoveToFront(at)
			return k.client, nil
		}
		c.remove(at)
	}
	client, err := open()
	if err != nil {
		return nil, err
	}
	c.byName[name] = c.recent.PushFront(&kept{name, edition, client})
	if c.recent.Len() > c.most {
		c.remove(c.recent.Back())
	}
	return client, nil
}

// drop closes the client of a name, if there is one.
func (c *clients) drop(name own) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.byName[name]; ok {
		c.remove(at)
	}
}

func (c *clients) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.remove(c.recent.Back())
	}
}

// remove takes a client out and closes it; whoever has it may go on. c.mu is held.
func (c *clients) remove(at *list.Element) {
	k := at.Value.(*kept)
	c.recent.Remove(at)
	delete(c.byName, k.name)
	k.client.Close()
}
