package main

import (
	"reflect"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// setFresh asks for a new instance in each call, on a build that restores.
func setFresh(src *vmhost.Source) {
	if f := reflect.ValueOf(src).Elem().FieldByName("Fresh"); f.IsValid() {
		f.SetBool(true)
	}
}

// restoreOf is what putting the VM back took, on a build that tells it.
func restoreOf(u vmhost.Usage) time.Duration {
	if f := reflect.ValueOf(u).FieldByName("Restore"); f.IsValid() {
		return time.Duration(f.Int())
	}
	return 0
}
