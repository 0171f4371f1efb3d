package vmhost

// Waiting returns how many calls of an account wait for a slot.
func Waiting(h *Host, account Account) int {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	if l := h.slots.lines[account]; l != nil {
		return len(l.waiters)
	}
	return 0
}
