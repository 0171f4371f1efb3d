package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// BenchmarkWrite writes batches of 5,000 records of 100 dimensions over REST, two at
// a time, into one collection: as numbers, as base64, and as one import. It reports
// rows a second, and the server's own processor time for each thousand.
func BenchmarkWrite(b *testing.B) {
	const rows, dimension = 5000, 100
	random := rand.New(rand.NewPCG(1, 1))
	vectors := make([][]float32, rows)
	for i := range vectors {
		vectors[i] = make([]float32, dimension)
		for j := range vectors[i] {
			vectors[i][j] = float32(random.NormFloat64())
		}
	}
	for _, form := range []struct {
		name  string
		write func(*bytes.Buffer, []float32)
	}{{"numbers", writeNumbers}, {"base64", writeBase64}} {
		for _, kind := range []string{"batch", "import"} {
			b.Run(kind+"/"+form.name, func(b *testing.B) {
				s := start(b, pgtest.DB(b))
				client := s.tenant(b, "bench")
				do(b, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": dimension, "index": map[string]any{"kind": "none"}}, nil)
				before := cpuTicks(s.cmd.Process.Pid)
				n := 0
				for b.Loop() {
					n += writeTwice(b, client, kind, n, vectors, form.write)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
				b.ReportMetric(10*float64(cpuTicks(s.cmd.Process.Pid)-before)/float64(n)*1000, "server-ms/1000rows")
			})
		}
	}
}

// writeTwice sends the vectors from two clients at once, under new ids, and returns
// how many records that were.
func writeTwice(b *testing.B, client *rest.Client, kind string, first int, vectors [][]float32, write func(*bytes.Buffer, []float32)) int {
	b.Helper()
	var wg sync.WaitGroup
	for c := range 2 {
		var sent bytes.Buffer
		between, path := ",", "/v1/collections/c/records"
		header := http.Header{"Content-Type": {"application/json"}}
		if kind == "import" {
			between, path = "\n", "/v1/collections/c/import"
			header.Set("Content-Type", "application/x-ndjson")
		} else {
			sent.WriteString(`{"records":[`)
		}
		for i, v := range vectors {
			if i > 0 {
				sent.WriteString(between)
			}
			fmt.Fprintf(&sent, `{"id":"%d-%d",`, c, first+i)
			write(&sent, v)
			sent.WriteByte('}')
		}
		if kind != "import" {
			sent.WriteString(`]}`)
		}
		wg.Go(func() {
			var out any
			if err := client.Send(b.Context(), path, header, &sent, &out); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return 2 * len(vectors)
}

func writeNumbers(to *bytes.Buffer, v []float32) {
	to.WriteString(`"vector":[`)
	for i, x := range v {
		if i > 0 {
			to.WriteByte(',')
		}
		to.Write(strconv.AppendFloat(nil, float64(x), 'g', -1, 32))
	}
	to.WriteByte(']')
}

func writeBase64(to *bytes.Buffer, v []float32) {
	to.WriteString(`"vector":"` + base64.StdEncoding.EncodeToString(body.PackF32(v)) + `"`)
}
