package vmhost

// memoryTree is the memory of guests as one tree: the node, below it accounts,
// below them calls. A call is counted with all that it may come to need before
// it starts, so that no growth can take what is not there. What is counted is a
// promise: the kernel is asked for pages as guests write them.
//
// It is not safe for concurrent use: [slots] holds its lock.
type memoryTree struct {
	most int64 // of all calls on the node
	used int64 // the sum of the accounts'
	// resident returns what machines keep while no call uses them; nil: 0.
	resident func() int64
}

// accountMemory is one account's part.
type accountMemory struct {
	most int64 // of all its calls; at most the node's
	used int64 // the sum of its calls'
}

// fits reports whether the account may have n bytes more.
func (a *accountMemory) fits(n int64) bool { return a.used+n <= a.most }

// fits reports whether the node has n bytes more. A node without a call takes
// any that it could ever take, whatever idle machines keep: they give way.
func (t *memoryTree) fits(n int64) bool {
	if t.used == 0 {
		return n <= t.most
	}
	idle := int64(0)
	if t.resident != nil {
		idle = max(t.resident(), 0)
	}
	return t.used+n+idle <= t.most
}

// reserve counts n bytes that fit, on the way from the account to the node.
func (t *memoryTree) reserve(a *accountMemory, n int64) {
	a.used += n
	t.used += n
}

// release gives back what was reserved.
func (t *memoryTree) release(a *accountMemory, n int64) {
	a.used -= n
	t.used -= n
}

// check returns an error if a call of n bytes does not fit with nobody else
// there. account is the most of its account, 0 that of the node.
func (t *memoryTree) check(n, account int64) error {
	switch {
	case n > t.most:
		return &BudgetError{Budget: BudgetNodeMemory, Used: n, Allowed: t.most, Never: true}
	case account > 0 && n > account:
		return &BudgetError{Budget: BudgetAccountMemory, Used: n, Allowed: account, Never: true}
	default:
		return nil
	}
}
