package wazerovm_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriver(t *testing.T) {
	vmhosttest.Run(t, vmhosttest.Harness{New: func(testing.TB) vmhost.Driver {
		return wazerovm.New(nil)
	}})
}
