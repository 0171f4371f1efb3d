package guests_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tars "github.com/tars-project/tars/plugins/sdk/go"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// The tests of this file run guests on the real engine, with a host that answers
// what they ask.

// load makes a guest's module ready for calls, with the grants that it asks for.
func load(t *testing.T, module []byte, grants ...string) *vmhost.Guest {
	t.Helper()
	limits := vmhost.Limits{
		Wall: 30 * time.Second, Memory: 64 << 20, Input: 8 << 20, Output: 1 << 20, Logs: 1 << 16, HostCalls: 8,
	}
	host, err := vmhost.New(wazerovm.New(nil), vmhost.Options{Slots: 2, MaxLimits: limits})
	if err != nil {
		t.Fatalf("vmhost.New = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
	has := func(grant string) bool { return slices.Contains(grants, grant) }
	guest, err := host.Load(t.Context(), vmhost.Source{
		Account: "test", Module: module, Digest: vmhost.DigestOf(module), Limits: limits,
		Grants: vmhost.Grants{Search: has("search"), Embed: has("embed"), Vectors: has("vectors"), Log: has("log")},
	})
	if err != nil {
		t.Fatalf("Load = %v, want nil", err)
	}
	return guest
}

// collection answers host calls: every text has the same embedding, and legs have
// rows of vectors.
type collection struct {
	question []float32
	legs     [][][]float32
	asked    []vmhost.HostCall
}

func (c *collection) answer(_ context.Context, call vmhost.HostCall) ([]byte, error) {
	c.asked = append(c.asked, call)
	switch {
	case call.Func == "embed":
		return floats(c.question), nil
	case call.Func == "vectors" && int(call.Leg) < len(c.legs) && uint64(call.First)+uint64(call.Count) <= uint64(len(c.legs[call.Leg])):
		return floats(c.legs[call.Leg][call.First : call.First+call.Count]...), nil
	}
	return nil, &vmhost.GuestError{Code: vmhost.CodeInvalid, Message: "no such leg or row"}
}

func floats(rows ...[]float32) []byte {
	var b []byte
	for _, row := range rows {
		for _, x := range row {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}

// call calls a guest and decodes what it gives into out, strictly.
func call(t *testing.T, g *vmhost.Guest, capability string, host vmhost.HostFunc, in, out any) vmhost.Reply {
	t.Helper()
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := g.Call(t.Context(), vmhost.Request{Capability: capability, Input: input, Host: host})
	if err != nil {
		t.Fatalf("Call of %s = %v, want nil", capability, err)
	}
	d := json.NewDecoder(strings.NewReader(string(reply.Output)))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		t.Fatalf("output %s: %v", reply.Output, err)
	}
	return reply
}

// many makes a query over n candidates of dimension d, found by two legs in turn,
// and the collection behind it. Each fifth candidate has no vector.
func many(n, d int) (tars.RankInput, *collection) {
	random := rand.New(rand.NewPCG(1, 2))
	vector := func() []float32 {
		v := make([]float32, d)
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		return v
	}
	c := &collection{question: vector(), legs: make([][][]float32, 2)}
	in := tars.RankInput{ABI: tars.ABI, Query: tars.Query{Text: `wie "öl"?`}}
	for i := range n {
		p := tars.Passage{Index: i, ID: fmt.Sprint(i), Text: strings.Repeat("a \"text\" ", 90), Metadata: json.RawMessage(`{"legs":[{"leg":0,"row":7}]}`)}
		leg := i % 2
		found := tars.FoundBy{Leg: leg}
		if i%5 != 4 {
			row := len(c.legs[leg])
			found.Row = &row
			c.legs[leg] = append(c.legs[leg], vector())
		}
		p.Legs = []tars.FoundBy{found}
		in.Candidates = append(in.Candidates, p)
	}
	for leg, rows := range c.legs {
		in.Legs = append(in.Legs, tars.Leg{Leg: leg, Rows: len(rows), Dimension: d})
	}
	return in, c
}

// cosines are the scores that the candidates of many should get, by index.
func (c *collection) cosines(in tars.RankInput) map[int]float64 {
	want := map[int]float64{}
	for _, p := range in.Candidates {
		for _, found := range p.Legs {
			if found.Row == nil {
				continue
			}
			var product, a, b float64
			for i, x := range c.legs[found.Leg][*found.Row] {
				x, y := float64(x), float64(c.question[i])
				product, a, b = product+x*y, a+x*x, b+y*y
			}
			want[p.Index] = product / math.Sqrt(a*b)
		}
	}
	return want
}

// rerankers are the guests that rank by vector.
func rerankers(t *testing.T) map[string]*vmhost.Guest {
	return map[string]*vmhost.Guest{
		"go": load(t, vmhosttest.Guest(t, "rerank"), "embed", "vectors"),
		"c":  load(t, vmhosttest.Language(t, "c-rerank"), "embed", "vectors"),
	}
}

// TestRerank is of both rerankers; to load one takes long under the race detector.
func TestRerank(t *testing.T) {
	guests := rerankers(t)
	t.Run("cosines", func(t *testing.T) { testCosines(t, guests) })
	t.Run("oddities", func(t *testing.T) { testOddities(t, guests) })
}

// testCosines: both give each candidate with a vector its cosine, asking for the
// question once and for each leg once; and a call leaves its machine in a state that
// the next can use.
func testCosines(t *testing.T, guests map[string]*vmhost.Guest) {
	in, c := many(200, 384)
	want := c.cosines(in)
	for name, guest := range guests {
		for range 3 {
			c.asked = nil
			var out tars.RankOutput
			reply := call(t, guest, "rank", c.answer, in, &out)
			if len(out.Scores) != len(want) {
				t.Errorf("%s: %d scores, want %d: for each candidate with a vector", name, len(out.Scores), len(want))
			}
			for _, s := range out.Scores {
				if w, ok := want[s.Index]; !ok || math.Abs(s.Score-w) > 1e-6 {
					t.Errorf("%s: score %+v, want %v", name, s, w)
				}
			}
			asked := []vmhost.HostCall{
				{Func: "embed", Text: `wie "öl"?`},
				{Func: "vectors", Leg: 0, First: 0, Count: uint32(len(c.legs[0]))},
				{Func: "vectors", Leg: 1, First: 0, Count: uint32(len(c.legs[1]))},
			}
			if !sameCalls(c.asked, asked) {
				t.Errorf("%s: the host was asked %+v, want %+v", name, c.asked, asked)
			}
			if reply.Usage.Restore == 0 {
				t.Errorf("%s: its machine was thrown away after a call of the size that it is made ready for", name)
			}
		}
	}
}

// sameCalls compares calls, in any order.
func sameCalls(got, want []vmhost.HostCall) bool {
	return len(got) == len(want) && !slices.ContainsFunc(want, func(c vmhost.HostCall) bool { return !slices.Contains(got, c) })
}

// testOddities: what may be missing, and what may not.
func testOddities(t *testing.T, guests map[string]*vmhost.Guest) {
	row := func(leg, row int) tars.FoundBy { return tars.FoundBy{Leg: leg, Row: &row} }
	c := &collection{question: []float32{1, 0}, legs: [][][]float32{{{1, 1}, {0, 0}, {-3, 0}}, {{1, 2, 3}}}}
	in := tars.RankInput{ABI: tars.ABI, Candidates: []tars.Passage{
		{Index: 0, Legs: []tars.FoundBy{{Leg: 1}, row(0, 2)}},
		{Index: 1, Legs: []tars.FoundBy{row(0, 1)}}, // zero
		{Index: 2, Legs: []tars.FoundBy{row(1, 0)}}, // of another length
		{Index: 3},
		{Index: 4, Legs: []tars.FoundBy{row(0, 0)}},
	}}
	want := []tars.Score{{Index: 0, Score: -1}, {Index: 4, Score: math.Sqrt2 / 2}}
	for name, guest := range guests {
		var out tars.RankOutput
		call(t, guest, "rank", c.answer, in, &out)
		if len(out.Scores) != 2 || out.Scores[0] != want[0] || out.Scores[1].Index != 4 || math.Abs(out.Scores[1].Score-want[1].Score) > 1e-6 {
			t.Errorf("%s: scores %+v, want %+v", name, out.Scores, want)
		}
		out.Scores = nil
		call(t, guest, "rank", c.answer, tars.RankInput{ABI: tars.ABI, Candidates: []tars.Passage{}}, &out)
		if len(out.Scores) != 0 {
			t.Errorf("%s: scores %+v of no candidates, want none", name, out.Scores)
		}
		for _, failing := range []string{"embed", "vectors"} {
			host := func(ctx context.Context, call vmhost.HostCall) ([]byte, error) {
				if call.Func == failing {
					return nil, &vmhost.GuestError{Code: "over-budget", Message: "no more"}
				}
				return c.answer(ctx, call)
			}
			wantCode(t, guest, "rank", in, host, "over-budget")
		}
		for config, code := range map[string]string{`{"by":"luck"}`: "bad-config", `{"by":"vector"}`: ""} {
			in := in
			in.Config = tars.Config(config)
			wantCode(t, guest, "rank", in, c.answer, code)
		}
		later := in
		later.ABI = 2
		wantCode(t, guest, "rank", later, c.answer, "unsupported")
		wantCode(t, guest, "guard", in, c.answer, "unsupported")
	}
}

// wantCode calls a guest and expects it to fail with a code; none means that it
// does not fail.
func wantCode(t *testing.T, g *vmhost.Guest, capability string, in any, host vmhost.HostFunc, code string) {
	t.Helper()
	input, ok := in.([]byte)
	if !ok {
		var err error
		if input, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	_, err := g.Call(t.Context(), vmhost.Request{Capability: capability, Input: input, Host: host})
	var failed *vmhost.GuestError
	if got := errors.As(err, &failed); (code == "" && err != nil) || (code != "" && (!got || failed.Code != code)) {
		t.Errorf("Call of %s with %.200s = %v, want the code %q", capability, input, err, code)
	}
}

// TestRerankInCIsBounded: no document makes it leave its bounds: cut short
// anywhere, with any byte of it another, it answers or fails in words.
func TestRerankInCIsBounded(t *testing.T) {
	in, c := many(3, 8)
	in.Config = tars.Config(`{"by":"vector"}`)
	in.Candidates[0].Text, in.Candidates[2].Text = "a \"text\"", ""
	in.Candidates[1].Text = "\\u \u2028 \"\\\" 😀"
	in.Query.Text = "\x00\t\"\\ü😀"
	whole, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	guest := load(t, vmhosttest.Language(t, "c-rerank"), "embed", "vectors")
	try := func(what string, document []byte) {
		t.Helper()
		document = []byte(strings.ToValidUTF8(string(document), "?")) // what the host would hand over
		c.asked = nil
		reply, err := guest.Call(t.Context(), vmhost.Request{Capability: "rank", Input: document, Host: c.answer})
		var failed *vmhost.GuestError
		if err != nil && !errors.As(err, &failed) {
			t.Errorf("%s: Call = %v, want an answer or the guest's own error; the document is %.900s", what, err, document)
		}
		if err == nil && !json.Valid(reply.Output) {
			t.Errorf("%s: Call = %s, want JSON", what, reply.Output)
		}
	}
	for n := range whole {
		document := slices.Clone(whole[:n])
		if !utf8.Valid(document) {
			continue // the host would not hand it over
		}
		_, err := guest.Call(t.Context(), vmhost.Request{Capability: "rank", Input: document, Host: c.answer})
		var failed *vmhost.GuestError
		if !errors.As(err, &failed) || failed.Code != "bad-input" {
			t.Fatalf("Call with the first %d bytes = %v, want bad-input", n, err)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	const hostile = "{}[]\",:\\u0d8e-.\x00\x7f 9"
	for range 3000 {
		document := slices.Clone(whole)
		for range 1 + random.IntN(4) {
			document[random.IntN(len(document))] = hostile[random.IntN(len(hostile))]
		}
		try("changed bytes", document)
	}
	for what, document := range map[string]string{
		"deep":             `{"abi":1,"x":` + strings.Repeat("[", 1_000_000),
		"deep and closed":  `{"abi":1,"query":{"text":"a"},"x":` + strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000) + `}`,
		"huge numbers":     `{"abi":1,"query":{"text":"a"},"candidates":[{"index":99999999999999999999,"legs":[{"leg":4294967295,"row":4294967295}]}]}`,
		"last row":         `{"abi":1,"query":{"text":"a"},"candidates":[{"index":0,"legs":[{"leg":0,"row":4294967295}]},{"index":0,"legs":[{"leg":0,"row":0}]}]}`,
		"twice":            `{"abi":1,"query":{"text":"a"},"candidates":[{"index":1}],"candidates":[{"index":2}]}`,
		"half a pair":      `{"abi":1,"query":{"text":"\ud83d\u0041\ude00\ud83d"},"candidates":[]}`,
		"an end in a pair": `{"abi":1,"query":{"text":"\ud83d\u00"},"candidates":[]}`,
		"name with NUL":    "{\"abi\x00\":1,\"abi\":1}",
	} {
		try(what, []byte(document))
	}
}

// TestGuardian: it refuses, narrows, drops and redacts as a module.
func TestGuardian(t *testing.T) {
	guest := load(t, vmhosttest.Guest(t, "guardian"))
	settings := tars.Config(`{"refuse":["salary"],"narrow":{"field":"public","eq":true},"redact":["kim"]}`)
	ask := func(text string) tars.GuardPreOutput {
		var out tars.GuardPreOutput
		call(t, guest, "guard", nil, tars.GuardPreInput{
			ABI: tars.ABI, Stage: "pre", Query: tars.AskedQuery{Text: text, Limit: 10}, Legs: []tars.AskedLeg{{Leg: 0, Collection: "staff"}}, Config: settings,
		}, &out)
		return out
	}
	if out := ask("what SALARY has Kim?"); out.Refuse == "" || out.Narrow != nil {
		t.Errorf("the guard before the search answers %+v, want a refusal alone", out)
	}
	narrowed := tars.GuardPreOutput{Narrow: []tars.Narrowing{{Leg: 0, Filter: json.RawMessage(`{"field":"public","eq":true}`)}}}
	if out := ask("who is Kim?"); !reflect.DeepEqual(out, narrowed) {
		t.Errorf("the guard before the search answers %+v, want %+v", out, narrowed)
	}
	var out tars.GuardPostOutput
	call(t, guest, "guard", nil, tars.GuardPostInput{
		ABI: tars.ABI, Stage: "post", Config: settings,
		Candidates: []tars.Passage{
			{Index: 0, Text: "Größe: Kim, öl@example.com"},
			{Index: 1, Text: "kim@example.com", Metadata: json.RawMessage(`{"secret":true}`)},
		},
	}, &out)
	want := tars.GuardPostOutput{Drop: []int{1}, Redact: []tars.Redaction{{Index: 0, Start: 9, End: 12}, {Index: 0, Start: 14, End: 29}}}
	if !reflect.DeepEqual(out, want) {
		t.Errorf("the guard after ranking answers %+v, want %+v", out, want)
	}
	wantCode(t, guest, "guard", []byte(`{"abi":1,"stage":"between"}`), nil, "unsupported")
}

// TestDedupe: it fuses and drops as a module.
func TestDedupe(t *testing.T) {
	guest := load(t, vmhosttest.Guest(t, "dedupe"))
	var out tars.MergeOutput
	call(t, guest, "merge", nil, tars.MergeInput{
		ABI: tars.ABI, Config: tars.Config(`{"k":1}`),
		Candidates: []tars.Passage{{Index: 0, Text: "The same."}, {Index: 1, Text: "the  SAME"}, {Index: 2, Text: "another"}},
		Lists: []tars.List{
			{Mode: "vector", Weight: 1, Entries: []tars.Entry{{Index: 2}, {Index: 0}}},
			{Mode: "lexical", Weight: 4, Entries: []tars.Entry{{Index: 1}}},
		},
	}, &out)
	if want := []tars.Score{{Index: 1, Score: 2}, {Index: 2, Score: 0.5}}; !reflect.DeepEqual(out.Scores, want) {
		t.Errorf("the merge answers %+v, want %+v", out.Scores, want)
	}
}

// TestAsker: a guest that asks without end reaches its host no more often than its
// budget says, whatever it does then; and what the host says reaches it.
func TestAsker(t *testing.T) {
	guest := load(t, vmhosttest.Guest(t, "asker"), "search", "embed", "vectors")
	for _, capability := range []string{"rank", "merge", "guard", "synthesize"} {
		for _, function := range []string{"search", "embed", "vectors"} {
			asked := 0
			host := func(_ context.Context, call vmhost.HostCall) ([]byte, error) {
				if asked++; call.Func != function {
					t.Errorf("asked for %s, want %s", call.Func, function)
				}
				return []byte("{}{}"), nil
			}
			input := fmt.Sprintf(`{"config":{"call":%q,"give_up":true,"text":"x"}}`, function)
			reply, err := guest.Call(t.Context(), vmhost.Request{Capability: capability, Input: []byte(input), Host: host})
			var spent *vmhost.BudgetError
			if !errors.As(err, &spent) || spent.Budget != vmhost.BudgetHostCalls || asked != 8 || reply.Usage.HostCalls != 8 {
				t.Errorf("%s: %s: Call = %v after %d calls, %d counted; want the budget of host calls used up after 8", capability, function, err, asked, reply.Usage.HostCalls)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	asked := 0
	host := func(context.Context, vmhost.HostCall) ([]byte, error) { asked++; return nil, nil }
	_, err := guest.Call(ctx, vmhost.Request{Capability: "rank", Input: []byte(`{}`), Host: host})
	if !errors.Is(err, context.DeadlineExceeded) || asked != 8 {
		t.Errorf("Call without an end = %v after %d calls, want it ended by its caller after 8", err, asked)
	}
}
