package wit_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/plugins/wit"
)

func TestWorldDeclaresTheContract(t *testing.T) {
	world := wit.World()
	for _, line := range []string{
		"package tars:plugin@0.1.0;",
		"search: func(request: string) -> result<string, error>;",
		"embed: func(text: string) -> result<list<f32>, error>;",
		"vectors: func(leg: u32, first: u32, count: u32) -> result<list<f32>, error>;",
		"log: func(level: u8, message: string);",
		"export handle: func(capability: string, input: string) -> result<string, error>;",
	} {
		if !strings.Contains(world, line) {
			t.Errorf("World() lacks %q", line)
		}
	}
}

func TestCapabilitiesAreTheFiles(t *testing.T) {
	entries, err := os.ReadDir("schema")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	var want []string
	for _, c := range wit.Capabilities() {
		want = append(want, c+".input.json", c+".output.json")
	}
	if !slices.Equal(got, want) {
		t.Errorf("schema files = %v, want %v", got, want)
	}
}

func TestSchemas(t *testing.T) {
	for _, capability := range wit.Capabilities() {
		for _, d := range []wit.Direction{wit.Input, wit.Output} {
			text, err := wit.Schema(capability, d)
			if err != nil {
				t.Fatalf("Schema(%s, %s): %v", capability, d, err)
			}
			var got struct {
				Schema   string            `json:"$schema"`
				ID       string            `json:"$id"`
				Type     string            `json:"type"`
				Examples []json.RawMessage `json:"examples"`
			}
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatalf("Schema(%s, %s): %v", capability, d, err)
			}
			if want := "urn:tars:plugin:1:" + capability + ":" + string(d); got.ID != want {
				t.Errorf("Schema(%s, %s) has $id %q, want %q", capability, d, got.ID, want)
			}
			if want := "https://json-schema.org/draft/2020-12/schema"; got.Schema != want {
				t.Errorf("Schema(%s, %s) has $schema %q, want %q", capability, d, got.Schema, want)
			}
			if got.Type != "object" || len(got.Examples) == 0 {
				t.Errorf("Schema(%s, %s) is of type %q with %d examples, want an object with one or more",
					capability, d, got.Type, len(got.Examples))
			}
		}
	}
}

func TestSchemaOfUnknownCapability(t *testing.T) {
	for _, name := range []string{"", "nosuch", "../tars"} {
		if _, err := wit.Schema(name, wit.Input); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Schema(%q, input) error = %v, want fs.ErrNotExist or fs.ErrInvalid", name, err)
		}
	}
}
