package embed

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tars-project/tars/knowledge"
)

// model is an embedder whose calls are counted and may wait.
type model struct {
	info knowledge.EmbedderInfo
	mu   sync.Mutex
	n    int
	wait chan struct{} // nil: does not
	err  error
}

func (m *model) Info() knowledge.EmbedderInfo { return m.info }

func (m *model) Embed(ctx context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
	m.mu.Lock()
	m.n++
	m.mu.Unlock()
	if m.wait != nil {
		select {
		case <-m.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		vectors[i] = []float32{float32(len(text)), 1}
	}
	return vectors, m.err
}

func newModel() *model {
	return &model{info: knowledge.EmbedderInfo{ID: "m", Version: "1", Dimension: 2}}
}

func (m *model) calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

func ask(t *testing.T, e knowledge.Embedder, kind knowledge.EmbedKind, texts ...string) [][]float32 {
	t.Helper()
	vectors, err := e.Embed(t.Context(), kind, texts)
	if err != nil || len(vectors) != len(texts) {
		t.Fatalf("Embed(%q) = %v, %v, want a vector for each", texts, vectors, err)
	}
	return vectors
}

// What tells questions apart: everything but the time.
func TestCacheKeys(t *testing.T) {
	c := NewQueryCache(1 << 20)
	defer c.Close()
	m, other := newModel(), newModel()
	other.info.Version = "2"
	for i, e := range []knowledge.Embedder{
		c.of(m, "alice", ""), c.of(m, "bob", ""), c.of(m, "alice", "2"), c.of(other, "alice", ""), c.of(m, "alic", "e"),
	} {
		before := m.calls() + other.calls()
		ask(t, e, knowledge.EmbedQuery, "q")
		ask(t, e, knowledge.EmbedQuery, "q")
		if got := m.calls() + other.calls() - before; got != 1 {
			t.Errorf("embedder %d: two equal questions made %d calls, want 1", i, got)
		}
	}
	e := c.of(m, "alice", "")
	before := m.calls()
	ask(t, e, knowledge.EmbedDocument, "q")
	ask(t, e, knowledge.EmbedQuery, "q", "q")
	if got := m.calls() - before; got != 2 {
		t.Errorf("a document and two questions at once made %d calls, want 2: they are not remembered", got)
	}
	if _, err := e.Embed(t.Context(), knowledge.EmbedQuery, []string{" "}); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Embed of white space = %v, want ErrInvalid", err)
	}
}

func TestCacheGivesCopies(t *testing.T) {
	c := NewQueryCache(1 << 20)
	defer c.Close()
	e := c.of(newModel(), "alice", "")
	for range 3 {
		v := ask(t, e, knowledge.EmbedQuery, "four")[0]
		if v[0] != 4 {
			t.Fatalf("vector = %v, want [4 1], whatever earlier callers did with theirs", v)
		}
		v[0] = 0
	}
}

func TestCacheIsBounded(t *testing.T) {
	const room = 3
	c := NewQueryCache(room * (overhead + 8))
	defer c.Close()
	m := newModel()
	e := c.of(m, "alice", "")
	for i := range 100 {
		ask(t, e, knowledge.EmbedQuery, strconv.Itoa(i))
		ask(t, e, knowledge.EmbedQuery, "0") // stays, being used
		if s := c.Stats(); s.Bytes > c.most || s.Entries > room {
			t.Fatalf("Stats() = %+v, want at most %d entries and %d bytes", s, room, c.most)
		}
	}
	if got := m.calls(); got != 100 {
		t.Errorf("%d calls, want 100: the question that was asked again and again was remembered", got)
	}
	small := NewQueryCache(1)
	defer small.Close()
	ask(t, small.of(m, "alice", ""), knowledge.EmbedQuery, "q")
	if s := small.Stats(); s.Entries != 0 {
		t.Errorf("Stats() of a cache without room = %+v, want nothing in it", s)
	}
}

func TestCacheForgetsErrors(t *testing.T) {
	c := NewQueryCache(1 << 20)
	defer c.Close()
	m := newModel()
	m.err = knowledge.ErrUnavailable
	e := c.of(m, "alice", "")
	for range 2 {
		if _, err := e.Embed(t.Context(), knowledge.EmbedQuery, []string{"q"}); !errors.Is(err, knowledge.ErrUnavailable) {
			t.Errorf("Embed = %v, want ErrUnavailable", err)
		}
	}
	m.err = nil
	ask(t, e, knowledge.EmbedQuery, "q")
	if m.calls() != 3 {
		t.Errorf("%d calls, want 3: errors are not remembered", m.calls())
	}
}

// One of several who wait leaves, the first one even: the others get their vector, of
// the one call. When all leave, the call ends, and who comes later begins another.
func TestCacheFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewQueryCache(1 << 20)
		m := newModel()
		m.wait = make(chan struct{})
		e := c.of(m, "alice", "")
		type outcome struct {
			vectors [][]float32
			err     error
		}
		begin := func(ctx context.Context) chan outcome {
			got := make(chan outcome, 1)
			go func() {
				v, err := e.Embed(ctx, knowledge.EmbedQuery, []string{"q"})
				got <- outcome{v, err}
			}()
			synctest.Wait()
			return got
		}
		leaving, leave := context.WithCancel(t.Context())
		first, second, third := begin(leaving), begin(t.Context()), begin(t.Context())
		leave()
		if got := <-first; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who left got %v, want context.Canceled", got.err)
		}
		close(m.wait)
		for _, waiting := range []chan outcome{second, third} {
			if got := <-waiting; got.err != nil || got.vectors[0][0] != 1 {
				t.Errorf("who stayed got %v, %v, want the vector", got.vectors, got.err)
			}
		}
		if m.calls() != 1 {
			t.Errorf("%d calls for three who asked at once, want 1", m.calls())
		}

		m.wait = make(chan struct{})
		e = c.of(m, "bob", "")
		leaving, leave = context.WithCancel(t.Context())
		only := begin(leaving)
		leave()
		if got := <-only; !errors.Is(got.err, context.Canceled) {
			t.Errorf("the only one, who left, got %v, want context.Canceled", got.err)
		}
		c.Close() // returns, for the call was ended
		close(m.wait)
		if got := <-begin(t.Context()); got.err != nil {
			t.Errorf("who came later got %v, want a vector", got.err)
		}
		c.Close()
	})
}
