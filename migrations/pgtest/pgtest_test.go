package pgtest

import (
	"testing"
)

func TestDB(t *testing.T) {
	for range 3 {
		d := DB(t)
		var n int
		if err := d.AppPool(t).QueryRow(t.Context(), "select count(*) from places").Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}
