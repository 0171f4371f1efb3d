package recordingstest_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge/recordings"
	"github.com/tars-project/tars/knowledge/recordings/recordingstest"
)

func TestMemory(t *testing.T) {
	recordingstest.Run(t, func(*testing.T) recordings.Store { return &recordingstest.Memory{} })
}
