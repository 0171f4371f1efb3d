package demo

import (
	"cmp"
	"fmt"
	"io"
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
		fmt.Fprintf(w, "   %-10s %s version %d, isolation %s (%s), %.1f ms in its VM, %.1f million units of fuel, %.1f MB, %s\n",
			c.Capability, c.Plugin, c.Version, c.Tier, c.Grade, float64(c.VMUS)/1000, float64(c.Fuel)/1e6, float64(c.PeakMemory)/1e6, c.Digest[:19])
	}
	d.printCommands(w, r)
}

// printCommands shows each step as a command for the shell.
func (d Demo) printCommands(w io.Writer, r Result) {
	key := r.Token
	if d.ShownKey != "" {
		key = "$(cat " + d.ShownKey + ")"
	}
	fmt.Fprintf(w, `
Each step again, by curl:

  export TARS_SERVER=%[1]s TARS_KEY=%[2]s TARS_ADMIN_KEY=$(cat %[3]s)
  as() { key=$1; shift; curl -s -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"; echo; }

  # a tenant and a key for it, by the operator
  as $TARS_ADMIN_KEY $TARS_SERVER/v1/admin/tenants -d '{"id":"acme"}'
  as $TARS_ADMIN_KEY $TARS_SERVER/v1/admin/tenants/acme/keys -d '{"name":"first"}'

  # a collection, a record, a search
  as $TARS_KEY $TARS_SERVER/v1/collections/notes -X PUT -d '{"embedder":"local"}'
  as $TARS_KEY $TARS_SERVER/v1/collections/notes/records \
    -d '{"records":[{"id":"1","text":"WAL archiving makes point-in-time recovery possible."}]}'
  as $TARS_KEY $TARS_SERVER/v1/collections/%[4]s/search -d '{"text":"how do I vacuum a table?","limit":3}'

  # a plugin, and its alias
  curl -s -H "Authorization: Bearer $TARS_KEY" $TARS_SERVER/v1/plugins/%[5]s/versions \
    -F 'manifest=@plugins/guests/%[5]s/plugin.json;type=application/json' \
    -F 'module=@bin/guests/%[5]s.wasm;type=application/wasm'
  as $TARS_KEY $TARS_SERVER/v1/plugins/%[5]s/aliases/live -X PUT -d '{"version":1}'

  # the question
  as $TARS_KEY $TARS_SERVER/v1/query -d '{"text":"%[6]s","limit":5,
    "legs":[{"collection":"%[4]s","candidates":200}],
    "plugins":[{"name":"%[5]s","capability":"rank"},{"name":"%[5]s","capability":"synthesize"}]}'

`, cmp.Or(d.ShownURL, d.BaseURL), key, d.AdminKeyFile, Collection, Plugin, Question)
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
