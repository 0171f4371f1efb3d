package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

var noTime time.Time

// hostileWorld has a collection of 2 components, cosine, that all cases aim at.
func hostileWorld(t *testing.T) (*world, string) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/c", token, `{"dimension":2}`), 201)
	return w, token
}

func record(member string) string { return `{"records":[{"id":"a",` + member + `}]}` }

// TestHostileJSON: each body is refused as the client's mistake, quickly, and
// nothing is written.
func TestHostileJSON(t *testing.T) {
	w, token := hostileWorld(t)
	deep := strings.Repeat("[", 100_000)
	for what, body := range map[string]string{
		"empty": "", "white space": " \n", "truncated": `{"records":[{"id":"a"`, "open arrays": deep,
		"open arrays in metadata":        record(`"vector":[1,1],"metadata":{"a":` + deep),
		"repeated member":                `{"records":[],"records":[{"id":"a","vector":[1,1]}]}`,
		"repeated member in metadata":    record(`"vector":[1,1],"metadata":{"tenant_id":1,"tenant_id":2}`),
		"repeated member, other escapes": record(`"vector":[1,1],"metadata":{"a":1,"\u0061":2}`),
		"trailing object":                record(`"vector":[1,1]`) + `{}`,
		"trailing bracket":               record(`"vector":[1,1]`) + `]`,
		"array":                          `[]`, "null": `null`, "NUL": "\x00", "byte order mark": "\ufeff" + record(`"vector":[1,1]`),
		"comments": `{"records":[] /* x */}`, "single quotes": `{'records':[]}`, "trailing comma": record(`"vector":[1,1],`),
		"bad UTF-8": record("\"vector\":[1,1],\"text\":\"\xff\""), "overlong UTF-8": record("\"vector\":[1,1],\"text\":\"\xc0\xaf\""),
		"lone surrogate": record(`"vector":[1,1],"text":"\ud800"`), "swapped surrogates": record(`"vector":[1,1],"text":"\udc00\ud800"`),
		"raw surrogate": record("\"vector\":[1,1],\"text\":\"\xed\xa0\x80\""),
		"NUL in text":   record(`"vector":[1,1],"text":"a\u0000b"`), "NUL in an id": `{"records":[{"id":"a\u0000","vector":[1,1]}]}`,
		"NUL in metadata": record(`"vector":[1,1],"metadata":{"a":"\u0000"}`), "NUL in a key": record(`"vector":[1,1],"metadata":{"\u0000":1}`),
		"control in an id": `{"records":[{"id":"a\nb","vector":[1,1]}]}`,
		"unknown member":   `{"records":[{"id":"a","vector":[1,1],"tenant_id":"other"}]}`, "unknown member at the top": `{"records":[{"id":"a","vector":[1,1]}],"x":1}`,
		"other case":                   `{"Records":[{"id":"a","vector":[1,1]}]}`,
		"2^53+1":                       record(`"vector":[1,1],"metadata":{"a":9007199254740993}`),
		"2^63":                         record(`"vector":[1,1],"metadata":{"a":9223372036854775808}`),
		"1e400":                        record(`"vector":[1,1],"metadata":{"a":1e400}`),
		"metadata depth":               record(`"vector":[1,1],"metadata":{"a":` + strings.Repeat(`{"a":`, 8) + "1" + strings.Repeat("}", 10)),
		"metadata size":                record(`"vector":[1,1],"metadata":{"a":"` + strings.Repeat("x", 64<<10) + `"}`),
		"many empty lists in metadata": record(`"vector":[1,1],"metadata":{"a":[` + strings.TrimSuffix(strings.Repeat("[],", 100_000), ",") + `]}`),
		"no records":                   `{"records":[]}`, "an id twice": `{"records":[{"id":"a","vector":[1,1]},{"id":"a","vector":[1,1]}]}`,
		"10,001 records": `{"records":[` + strings.TrimSuffix(strings.Repeat(`{"id":"a","vector":[1,1]},`, 10_001), ",") + `]}`,
		"empty id":       `{"records":[{"id":"","vector":[1,1]}]}`, "long id": `{"records":[{"id":"` + strings.Repeat("x", 513) + `","vector":[1,1]}]}`,
		"year 0001": record(`"vector":[1,1],"expires_at":"0001-01-01T00:00:00Z"`),
	} {
		start := time.Now()
		got := w.call("POST", "/v1/collections/c/records", token, body)
		w.wantStatus("records, "+what, got, 400)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("records, %s took %v, want much less", what, took)
		}
	}
	w.wantStatus("record a", w.call("GET", "/v1/collections/c/records/a", token, ""), 404)
}

func TestHostileVectors(t *testing.T) {
	w, token := hostileWorld(t)
	for what, v := range map[string]string{
		"NaN": `[NaN,1]`, "Infinity": `[Infinity,1]`, "-Infinity": `[-Infinity,1]`, "NaN as text": `["NaN",1]`, "Infinity as text": `["Infinity",1]`,
		"1e39": `[1e39,1]`, "3.5e38": `[3.5e38,1]`, "1e400": `[1e400,1]`, "1e16": `[1e16,1]`, "zeros": `[0,0]`, "minus zeros": `[-0,-0.0]`, "denormals": `[1e-40,1e-45]`,
		"one less": `[1]`, "one more": `[1,1,1]`, "empty": `[]`, "null in it": `[1,null]`, "null": `null`, "nested": `[[1,1]]`, "text": `"[1,1]"`, "texts": `["1","1"]`,
		"bools": `[true,false]`, "object": `{"0":1}`, "hex": `[0x1,1]`, "plus": `[+1,1]`, "leading zero": `[01,1]`, "dot": `[.5,1]`,
		"packed NaN": `"AACAPwAAwH8="`, "packed infinity": `"AACAfwAAgD8="`, "packed zeros": `"AAAAAAAAAAA="`, "packed, one less": `"AACAPw=="`, "packed, half a number": `"AACAPwAA"`,
		"16,001": "[" + strings.Repeat("1,", 16_000) + "1]", "1,000,000": "[" + strings.Repeat("1,", 999_999) + "1]",
	} {
		w.wantStatus("record, "+what, w.call("POST", "/v1/collections/c/records", token, record(`"vector":`+v)), 400)
		if len(v) < 1<<20 {
			w.wantStatus("search, "+what, w.call("POST", "/v1/collections/c/search", token, `{"vector":`+v+`}`), 400)
		}
	}
	for what, search := range map[string]string{
		"limit 0": `{"vector":[1,1],"limit":0}`, "limit -1": `{"vector":[1,1],"limit":-1}`, "limit 2^31": `{"vector":[1,1],"limit":2147483648}`,
		"limit 2^63": `{"vector":[1,1],"limit":9223372036854775808}`, "limit 1.0": `{"vector":[1,1],"limit":1.0}`, "limit 1e1": `{"vector":[1,1],"limit":1e1}`,
		"limit as text": `{"vector":[1,1],"limit":"10"}`, "ef 0": `{"vector":[1,1],"ef":0}`, "ef 1001": `{"vector":[1,1],"ef":1001}`, "ef -1": `{"vector":[1,1],"ef":-1}`,
		"both, by vector": `{"mode":"vector","vector":[1,1],"text":"x"}`, "neither": `{}`, "text without embedder": `{"mode":"vector","text":"x"}`, "long text": `{"text":"` + strings.Repeat("x", 8001) + `"}`,
		"exact as text": `{"vector":[1,1],"exact":"true"}`,
	} {
		w.wantStatus("search, "+what, w.call("POST", "/v1/collections/c/search", token, search), 400)
	}
	w.wantStatus("search, packed", w.call("POST", "/v1/collections/c/search", token, `{"vector":"AACAPwAAAL8="}`), 200)
	w.wantStatus("search, limit beyond the records", w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1],"limit":1000}`), 200)
}

func TestHostileFilters(t *testing.T) {
	w, token := hostileWorld(t)
	search := func(filter string) reply {
		return w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1],"filter":`+filter+`}`)
	}
	for what, filter := range map[string]string{
		"empty": `{}`, "null": `null`, "list": `[]`, "text": `"x"`, "no field": `{"eq":1}`, "no operator": `{"field":"a"}`,
		"two operators": `{"field":"a","gt":1,"lt":2}`, "and with a field": `{"field":"a","and":[]}`, "field after and": `{"and":[],"field":"a"}`,
		"unknown operator": `{"field":"a","$where":"1"}`, "regex": `{"field":"a","regex":"(a+)+$"}`, "like": `{"field":"a","like":"%_%_%"}`,
		"empty field": `{"field":"","eq":1}`, "long field": `{"field":"` + strings.Repeat("x", 129) + `","eq":1}`, "NUL in the field": `{"field":"\u0000","eq":1}`,
		"null value": `{"field":"a","eq":null}`, "list for eq": `{"field":"a","eq":[1]}`, "object for eq": `{"field":"a","eq":{}}`, "bool for gt": `{"field":"a","gt":true}`,
		"text for in": `{"field":"a","in":"x"}`, "null in in": `{"field":"a","in":[null]}`, "nested in": `{"field":"a","in":[[1]]}`,
		"10,000 for in":    `{"field":"a","in":[` + strings.TrimSuffix(strings.Repeat("1,", 10_000), ",") + `]}`,
		"10,000 terms":     `{"and":[` + strings.TrimSuffix(strings.Repeat(`{"field":"a","eq":1},`, 10_000), ",") + `]}`,
		"257 terms":        `{"or":[{"and":[` + strings.TrimSuffix(strings.Repeat(`{"field":"a","eq":1},`, 255), ",") + `]},{"field":"a","eq":1}]}`,
		"depth 10,000":     strings.Repeat(`{"not":`, 10_000) + `{"field":"a","eq":1}` + strings.Repeat("}", 10_000),
		"depth 17":         strings.Repeat(`{"not":`, 16) + `{"field":"a","eq":1}` + strings.Repeat("}", 16),
		"not of a list":    `{"not":[{"field":"a","eq":1}]}`,
		"not of nothing":   `{"not":{}}`,
		"1e400":            `{"field":"a","eq":1e400}`,
		"2^53+1":           `{"field":"a","eq":9007199254740993}`,
		"field of a list":  `{"field":["a"],"eq":1}`,
		"repeated":         `{"field":"a","field":"b","eq":1}`,
		"NUL in the value": `{"field":"a","eq":"\u0000"}`,
		"null for ne":      `{"field":"a","ne":null}`,
		"text for exists":  `{"field":"a","exists":"true"}`, "number for exists": `{"field":"a","exists":1}`, "null for exists": `{"field":"a","exists":null}`,
		"exists of nothing": `{"exists":true}`, "list for contains": `{"field":"a","contains":[1]}`, "contains of nothing": `{"contains":1}`,
		"number for match": `{"match":1}`, "empty match": `{"match":""}`, "NUL in match": `{"match":"a\u0000"}`,
		"long match":          `{"match":"` + strings.Repeat("x", knowledge.MaxMatch+1) + `"}`,
		"match and eq":        `{"field":"a","match":"x","eq":"x"}`,
		"match with and":      `{"match":"x","and":[]}`,
		"long value":          `{"field":"a","eq":"` + strings.Repeat("x", knowledge.MaxFilterValue+1) + `"}`,
		"many bytes":          `{"field":"a","in":[` + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 300), ",") + `]}`,
		"many bytes of terms": `{"or":[` + strings.TrimSuffix(strings.Repeat(`{"field":"a","in":[`+strings.TrimSuffix(strings.Repeat("1,", 1000), ",")+`]},`, 40), ",") + `]}`,
		"lone surrogate":      `{"field":"\ud800","eq":1}`,
		"-1e400":              `{"field":"a","lt":-1e400}`,
		"NaN":                 `{"field":"a","lt":NaN}`,
	} {
		w.wantStatus("filter, "+what, search(filter), 400)
	}
	for what, filter := range map[string]string{
		"quotes": `{"field":"a'\"; DROP TABLE records; --","eq":"' OR 1=1"}`, "dots": `{"field":"a.b","eq":1}`, "dollar": `{"field":"$a","eq":1}`,
		"proto": `{"field":"__proto__","eq":1}`, "path": `{"field":"$.a[*] ? (@ > 1)","eq":1}`, "tenant": `{"field":"tenant_id","eq":"other"}`,
		"empty and": `{"and":[]}`, "empty or": `{"or":[]}`, "empty in": `{"field":"a","in":[]}`, "contradiction": `{"and":[{"field":"a","gt":2},{"field":"a","lt":1}]}`,
		"depth 16": strings.Repeat(`{"not":`, 15) + `{"field":"a","eq":1}` + strings.Repeat("}", 15), "mixed in": `{"field":"a","in":[1,"x",true]}`,
		"order of members": `{"eq":1,"field":"a"}`,
		"ne":               `{"field":"a","ne":1}`, "exists": `{"field":"a","exists":false}`, "contains": `{"field":"tags","contains":"x"}`,
		"match": `{"match":"' & | ! <-> :* ( ) \\"}`, "match in a field": `{"field":"a","match":"(a+)+$ %_%_%"}`, "match of stop words": `{"match":"the"}`,
		"not of empty or": `{"not":{"or":[]}}`, "not of empty in": `{"not":{"field":"a","in":[]}}`, "not of exists": `{"not":{"field":"__proto__","exists":true}}`,
		"1e308": `{"field":"a","gt":1e308}`, "denormal": `{"field":"a","gt":5e-324}`, "negative zero": `{"field":"a","eq":-0}`,
		"256 terms":    `{"and":[` + strings.TrimSuffix(strings.Repeat(`{"field":"a","eq":1},`, 255), ",") + `]}`,
		"1,000 for in": `{"field":"a","in":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 1000), ",") + `]}`,
	} {
		w.wantStatus("filter, "+what, search(filter), 200)
	}
}

func TestHostileQueries(t *testing.T) {
	w, token := hostileWorld(t)
	leg := `{"collection":"c","vector":[1,1]}`
	for what, body := range map[string]string{
		"no legs": `{"text":"x"}`, "empty legs": `{"legs":[]}`, "17 legs": `{"legs":[` + strings.Repeat(leg+",", 16) + leg + `]}`,
		"leg without collection": `{"legs":[{"vector":[1,1]}]}`, "bad name": `{"legs":[{"collection":"../c","vector":[1,1]}]}`,
		"weight 0": `{"legs":[{"collection":"c","vector":[1,1],"weight":0}]}`, "weight -1": `{"legs":[{"collection":"c","vector":[1,1],"weight":-1}]}`,
		"weight 1e400": `{"legs":[{"collection":"c","vector":[1,1],"weight":1e400}]}`, "candidates 201": `{"legs":[{"collection":"c","vector":[1,1],"candidates":201}]}`,
		"text and vector": `{"legs":[{"collection":"c","mode":"vector","vector":[1,1],"text":"x"}]}`, "neither": `{"legs":[{"collection":"c"}]}`,
		"timeout 0": `{"legs":[` + leg + `],"timeout_ms":0}`, "timeout 60001": `{"legs":[` + leg + `],"timeout_ms":60001}`, "timeout 2^63": `{"legs":[` + leg + `],"timeout_ms":9223372036854775807}`,
		"limit 201":      `{"legs":[` + leg + `],"limit":201}`,
		"33 plugins":     `{"text":"x","legs":[` + leg + `],"plugins":[` + strings.TrimSuffix(strings.Repeat(`{"name":"p","capability":"rank"},`, 33), ",") + `]}`,
		"plugin chunk":   `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"chunk"}]}`,
		"plugin name":    `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"../p","capability":"rank"}]}`,
		"version 0":      `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","version":"0"}]}`,
		"version number": `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","version":1}]}`,
		"config list":    `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","config":[]}]}`,
		"config deep":    `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","config":{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}]}`,
		"config large":   `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","config":{"a":"` + strings.Repeat("x", 64<<10) + `"}}]}`,
		"config twice":   `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","config":{"a":1,"a":2}}]}`,
		"on_error":       `{"text":"x","legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank","on_error":"ignore"}]}`,
		"no text":        `{"legs":[` + leg + `],"plugins":[{"name":"p","capability":"rank"}]}`,
	} {
		w.wantStatus("query, "+what, w.call("POST", "/v1/query", token, body), 400)
	}
	w.wantStatus("upload", w.uploadGood(token), 201)
	for what, body := range map[string]string{
		"no input": `{"capability":"rank"}`, "no capability": `{"input":1}`, "unknown capability": `{"capability":"root","input":1}`,
		"deep input": `{"capability":"rank","input":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "1e400": `{"capability":"rank","input":1e400}`,
		"lone surrogate": `{"capability":"rank","input":"\ud800"}`, "version": `{"capability":"rank","input":1,"version":"sha256:00"}`,
	} {
		w.wantStatus("invoke, "+what, w.call("POST", "/v1/plugins/cited/invoke", token, body), 400)
	}
}

func TestHostileHeaders(t *testing.T) {
	w, token := hostileWorld(t)
	good := record(`"vector":[1,1]`)
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = zip.Close()
	for what, c := range map[string]struct {
		header http.Header
		body   string
		want   int
	}{
		"no type":           {http.Header{"Content-Type": nil}, good, 415},
		"text":              {http.Header{"Content-Type": {"text/plain"}}, good, 415},
		"form":              {http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, good, 415},
		"utf-16":            {http.Header{"Content-Type": {"application/json; charset=utf-16"}}, good, 415},
		"two types":         {http.Header{"Content-Type": {"application/json", "application/json"}}, good, 415},
		"bad type":          {http.Header{"Content-Type": {"application/json; ="}}, good, 415},
		"gzip":              {http.Header{"Content-Encoding": {"gzip"}}, bomb.String(), 415},
		"br":                {http.Header{"Content-Encoding": {"br"}}, good, 415},
		"utf-8":             {http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, good, 200},
		"identity":          {http.Header{"Content-Encoding": {"identity"}}, good, 200},
		"two keys":          {http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, good, 401},
		"empty key":         {http.Header{"Authorization": {""}}, good, 401},
		"no scheme":         {http.Header{"Authorization": {token}}, good, 401},
		"basic":             {http.Header{"Authorization": {"Basic " + token}}, good, 401},
		"scheme alone":      {http.Header{"Authorization": {"Bearer"}}, good, 401},
		"scheme and space":  {http.Header{"Authorization": {"Bearer "}}, good, 401},
		"two tokens":        {http.Header{"Authorization": {"Bearer " + token + " " + token}}, good, 401},
		"list of tokens":    {http.Header{"Authorization": {"Bearer " + token + ",x"}}, good, 401},
		"other case":        {http.Header{"Authorization": {"bearer " + token}}, good, 200},
		"method override":   {http.Header{"X-Http-Method-Override": {"DELETE"}}, good, 200},
		"forwarded":         {http.Header{"X-Forwarded-For": {"127.0.0.1"}, "X-Original-Url": {"/livez"}}, good, 200},
		"tenant in headers": {http.Header{"X-Tenant-Id": {"other"}}, good, 200},
	} {
		r := w.request("POST", "/v1/collections/c/records", token, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/json")
		for name, values := range c.header {
			r.Header[name] = values
		}
		w.wantStatus(what, w.do(r), c.want)
	}
}

func TestHostilePaths(t *testing.T) {
	w, token := hostileWorld(t)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404},
		{"GET", "/v1", 404},
		{"GET", "/v1/", 404},
		{"GET", "/V1/collections", 404},
		{"GET", "/v1/collections/", 404},
		{"GET", "//v1/collections", 404},
		{"GET", "/v1//collections", 404},
		{"GET", "/livez/../v1/collections", 404},
		{"GET", "/livez/%2e%2e/v1/collections", 404},
		{"GET", "/v1/collections;a=b", 404},
		{"GET", "/v1/collections%3fa", 404},
		{"GET", "/v1/collections%00", 404},
		{"GET", "/v1/collections/%2e%2e", 400},
		{"GET", "/v1/collections/..%2f..%2fadmin", 400},
		{"GET", "/v1/collections/C", 400},
		{"GET", "/v1/collections/" + strings.Repeat("x", 64), 400},
		{"GET", "/v1/collections/c/records/%00", 400},
		{"GET", "/v1/collections/c/records/%ff", 400},
		{"GET", "/v1/collections/c/records/" + strings.Repeat("x", 513), 400},
		{"GET", "/v1/collections/c/records/" + strings.Repeat("x", 512), 404},
		{"GET", "/v1/plugins/p/versions/sha256:00", 400},
		{"GET", "/v1/plugins/p/versions/0", 400},
		{"GET", "/v1/plugins/p/versions/-1", 400},
		{"GET", "/v1/plugins/p/versions/99999999999999999999", 400},
		{"GET", "/v1/collections?limit=0", 400},
		{"GET", "/v1/collections?limit=-1", 400},
		{"GET", "/v1/collections?limit=1000000000", 400},
		{"GET", "/v1/collections?limit=1e2", 400},
		{"GET", "/v1/collections?limit=99999999999999999999", 400},
		{"GET", "/v1/collections?limit=", 400},
		{"GET", "/v1/collections?limit=a", 400},
		{"GET", "/v1/collections?limit=1&limit=2", 400},
		{"GET", "/v1/collections?cursor=", 400},
		{"GET", "/v1/collections?cursor=%00", 400},
		{"GET", "/v1/collections?cursor=AAAA", 400},
		{"GET", "/v1/collections?cursor=" + newCursor("collections", "../x"), 400},
		{"GET", "/v1/collections?cursor=" + newCursor("plugins", "x"), 400},
		{"GET", "/v1/collections?cursor=" + strings.Repeat("A", 513), 400},
		{"GET", "/v1/collections?cursor=" + newCursor("collections", "a") + "&cursor=" + newCursor("collections", "b"), 400},
		{"GET", "/v1/collections?tenant=other", 400},
		{"GET", "/v1/collections?%zz", 400},
		{"GET", "/v1/collections?a;b", 400},
		{"POST", "/v1/collections", 405},
		{"DELETE", "/v1/query", 405},
		{"TRACE", "/v1/collections", 405},
		{"PATCH", "/v1/collections", 405},
		{"PROPFIND", "/v1/collections", 405},
		{"TRACE", "/nowhere", 404},
	} {
		got := w.call(c.method, c.path, token, "")
		w.wantStatus(c.method+" "+c.path, got, c.want)
		if c.want == 405 && got.header.Get("Allow") == "" {
			t.Errorf("%s %s has no Allow", c.method, c.path)
		}
	}
}

// A refusal of a parameter names it.
func TestParametersAreNamed(t *testing.T) {
	w, token := hostileWorld(t)
	for query, want := range map[string]string{"limit=1&limit=2": "limit: is given 2 times; need it once", "limit=0": "limit: number must be at least 1"} {
		if got := w.call("GET", "/v1/collections?"+query, token, ""); got.json["detail"] != want {
			t.Errorf("GET ?%s = %s, want detail %q", query, got.body, want)
		}
	}
}

func TestBodyLimits(t *testing.T) {
	w, token := hostileWorld(t)
	limit := int(w.server.operations["putCollection"].body)
	exact := `{"dimension":2}` + strings.Repeat(" ", limit-len(`{"dimension":2}`))
	w.wantStatus("a body of the limit", w.call("PUT", "/v1/collections/c", token, exact), 200)
	w.wantStatus("one byte more", w.call("PUT", "/v1/collections/c", token, exact+" "), 413)
	r := w.request("PUT", "/v1/collections/c", token, io.MultiReader(strings.NewReader(exact), strings.NewReader(" ")))
	r.Header.Set("Content-Type", "application/json") // no Content-Length: chunked
	w.wantStatus("one byte more, chunked", w.do(r), 413)
}

func TestHostileUploads(t *testing.T) {
	w, token := hostileWorld(t)
	manifest, module := part{"manifest", "application/json", goodManifest}, part{"module", "application/wasm", goodModule}
	for what, c := range map[string]struct {
		parts []part
		want  int
	}{
		"no parts":            {nil, 400},
		"no module":           {[]part{manifest}, 400},
		"no manifest":         {[]part{module}, 400},
		"manifest twice":      {[]part{manifest, manifest, module}, 400},
		"module twice":        {[]part{manifest, module, module}, 400},
		"an unknown part":     {[]part{manifest, module, {"tenant", "text/plain", "other"}}, 400},
		"wrong type":          {[]part{{"manifest", "text/plain", goodManifest}, module}, 400},
		"bad type":            {[]part{{"manifest", "/", goodManifest}, module}, 400},
		"manifest not JSON":   {[]part{{"manifest", "application/json", "{"}, module}, 400},
		"other name":          {[]part{{"manifest", "application/json", strings.Replace(goodManifest, "cited", "other", 1)}, module}, 400},
		"path as name":        {[]part{{"manifest", "application/json", strings.Replace(goodManifest, "cited", "../cited", 1)}, module}, 400},
		"large manifest":      {[]part{{"manifest", "application/json", goodManifest + strings.Repeat(" ", 64<<10)}, module}, 413},
		"large module":        {[]part{manifest, {"module", "application/wasm", goodModule + strings.Repeat("x", 1<<20)}}, 413},
		"no types":            {[]part{{"manifest", "", goodManifest}, {"module", "", goodModule}}, 201},
		"either order, octet": {[]part{{"module", "application/octet-stream", goodModule + "2"}, manifest}, 201},
	} {
		w.wantStatus("upload, "+what, w.upload(token, "cited", c.parts...), c.want)
	}
	for what, c := range map[string]struct{ contentType, body string }{
		"not a form":      {"multipart/form-data; boundary=x", "not a form"},
		"cut short":       {"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\n{}"},
		"header too long": {"multipart/form-data; boundary=x", "--x\r\nA: " + strings.Repeat("x", 1<<16) + "\r\n\r\n\r\n--x--"},
	} {
		r := w.request("POST", "/v1/plugins/cited/versions", token, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		w.wantStatus("upload, "+what, w.do(r), 400)
	}
	for _, contentType := range []string{"multipart/form-data", "application/wasm", "multipart/mixed; boundary=x"} {
		r := w.request("POST", "/v1/plugins/cited/versions", token, strings.NewReader("--x--"))
		r.Header.Set("Content-Type", contentType)
		w.wantStatus("upload as "+contentType, w.do(r), 415)
	}
}

// Ids that a client sends are used only if they are fit for a header and a log.
func TestRequestIDs(t *testing.T) {
	w := newWorld(t, nil)
	for id, kept := range map[string]bool{
		"abc-1.2_3": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "": false, "é": false, `"}`: false,
	} {
		r := w.request("GET", "/livez", "", http.NoBody)
		r.Header.Set("X-Request-ID", id)
		got := w.do(r).header.Get("X-Request-ID")
		if (got == id) != kept || got == "" {
			t.Errorf("X-Request-ID %q is answered with %q, want it kept: %v", id, got, kept)
		}
	}
	if strings.Contains(w.log.String(), `"}`+`"`) {
		t.Error("the log has a chosen id that is not fit for it")
	}
}
