package tenancytest_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/tenancytest"
)

func TestMemory(t *testing.T) {
	tenancytest.RunDirectory(t, func(*testing.T) tenancy.Directory { return tenancytest.NewMemory() })
	tenancytest.RunSecrets(t, func(*testing.T) (tenancy.Secrets, tenancy.Directory) {
		m := tenancytest.NewMemory()
		return m, m
	})
}
