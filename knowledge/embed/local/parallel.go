package local

import (
	"sync"
	"sync/atomic"
)

// inParallel calls do with 0 to n-1, in order, by so many goroutines at most, until
// one fails. Each call before a failed one has been made, so that the first failure,
// which is returned, is the same in every run.
func inParallel(goroutines, n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var failed atomic.Bool
	work := func() {
		for !failed.Load() {
			i := int(next.Add(1) - 1)
			if i >= n {
				return
			}
			if errs[i] = do(i); errs[i] != nil {
				failed.Store(true)
			}
		}
	}
	var others sync.WaitGroup
	for range min(goroutines, n) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
