package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// cancelPatience is how long a server may take to end a statement, before its
	// connection is given up.
	cancelPatience = time.Second
	// cancelSettles is how long a cancellation may be under way within the server
	// after it has taken it: one that comes late would end the next statement.
	cancelSettles = 100 * time.Millisecond
)

// canceller has the server end a statement as soon as its context ends. pgx has one
// too, under which whoever cancelled waits for the time in which the cancellation
// settles; here only the connection waits, on its way back to the pool.
type canceller struct {
	conn   *pgconn.PgConn
	cancel context.CancelFunc // of the request
	sent   chan struct{}      // closed when the server has taken it, or it failed
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceller) HandleCancel(context.Context) {
	deadline := time.Now().Add(cancelPatience)
	_ = c.conn.Conn().SetDeadline(deadline) // of a closed connection, at worst
	var ctx context.Context
	ctx, c.cancel = context.WithDeadline(context.Background(), deadline)
	sent := make(chan struct{}) // not looked up later: the next statement's may stand there by then
	c.sent = sent
	go func() {
		defer close(sent)
		_ = c.conn.CancelRequest(ctx) // then the deadline ends the statement, with its connection
	}()
}

// HandleUnwatchAfterCancel implements ctxwatch.Handler. It is called when the
// statement has ended.
func (c *canceller) HandleUnwatchAfterCancel() {
	_ = c.conn.Conn().SetDeadline(time.Time{})
	data := c.conn.CustomData()
	before, _ := data[settlingKey].([]settling) // of an earlier statement of the same transaction
	data[settlingKey] = append(before, settling{c.cancel, c.sent})
}

// settling is a cancellation whose statement has ended.
type settling struct {
	cancel context.CancelFunc
	sent   <-chan struct{}
}

// settlingKey is where a connection keeps its []settling.
const settlingKey = "tars.settling"

// settled waits, on a connection's way back to the pool, until no cancellation can
// meet its next statement. It is called by a goroutine of its own.
func settled(conn *pgx.Conn) bool {
	data := conn.PgConn().CustomData()
	all, ok := data[settlingKey].([]settling)
	if !ok {
		return true
	}
	delete(data, settlingKey)
	for _, s := range all {
		s.cancel()
		<-s.sent
	}
	time.Sleep(cancelSettles)
	return true
}
