package demo

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Print shows the question, the answer, its citations and its receipts, and how to
// repeat each step.
func (d Demo) Print(w io.Writer, r Result) {
	fmt.Fprintf(w, "\nQ: %s\n\n%s\n\n", Question, indent(r.Answer, "   "))
	for i, c := range r.Citations {
		mark := "verified"
		if !c.Verified {
			mark = "NOT verified"
		}
		fmt.Fprintf(w, "   [%d] %s, version %d, bytes %d-%d, %s\n", i+1, c.ID, c.Version, c.Start, c.End, mark)
	}
	fmt.Fprintf(w, "\nReceipts (the whole query took %.0f ms):\n", float64(r.Took.Microseconds())/1000)
	for _, c := range r.Receipts {
		fmt.Fprintf(w, "   %-10s %s version %d, isolation %s (%s), %.1f ms in its VM, %.1f MB, %s\n",
			c.Capability, c.Plugin, c.Version, c.Tier, c.Grade, float64(c.VMUS)/1000, float64(c.PeakMemory)/1e6, c.Digest[:19])
	}
	d.printCommands(w)
}

func (d Demo) printCommands(w io.Writer) {
	key := filepath.Join(d.StateDir, "demo.key")
	admin := filepath.Join(d.StateDir, "admin.key")
	auth := fmt.Sprintf(`-H "Authorization: Bearer $(cat %s)"`, key)
	fmt.Fprintf(w, `
Each step again, by curl:

  # a tenant and a key for it (the operator's key is in %[4]s)
  curl -s %[1]s/v1/admin/tenants -H "Authorization: Bearer $(cat %[4]s)" \
    -H 'Content-Type: application/json' -d '{"id":"acme"}'
  curl -s %[1]s/v1/admin/tenants/acme/keys -H "Authorization: Bearer $(cat %[4]s)" \
    -H 'Content-Type: application/json' -d '{"name":"first"}'

  # a collection, a record, a search
  curl -s -X PUT %[1]s/v1/collections/notes %[2]s \
    -H 'Content-Type: application/json' -d '{"embedder":"local"}'
  curl -s %[1]s/v1/collections/notes/records %[2]s \
    -H 'Content-Type: application/json' -d '{"records":[{"id":"1","text":"WAL archiving makes point-in-time recovery possible."}]}'
  curl -s %[1]s/v1/collections/%[5]s/search %[2]s \
    -H 'Content-Type: application/json' -d '{"text":"how do I vacuum a table?","limit":3}'

  # a plugin (bin/guests/%[6]s.wasm, built from plugins/guests/%[6]s), and its alias
  curl -s %[1]s/v1/plugins/%[6]s/versions %[2]s \
    -F 'manifest=@plugins/guests/%[6]s/plugin.json;type=application/json' \
    -F 'module=@bin/guests/%[6]s.wasm;type=application/wasm'
  curl -s -X PUT %[1]s/v1/plugins/%[6]s/aliases/live %[2]s \
    -H 'Content-Type: application/json' -d '{"version":1}'

  # the question
  curl -s %[1]s/v1/query %[2]s \
    -H 'Content-Type: application/json' -d '{"text":"%[3]s","limit":5,
      "legs":[{"collection":"%[5]s","candidates":200}],
      "plugins":[{"name":"%[6]s","capability":"rank"},{"name":"%[6]s","capability":"synthesize"}]}'

`, d.BaseURL, auth, Question, admin, Collection, Plugin)
}

// indent wraps text at about 96 columns and indents its lines.
func indent(text, by string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > 96 {
			lines = append(lines, by+line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, by+line), "\n")
}
