package vmhost

// Waiting returns how many calls of an account wait for a slot.
func Waiting(h *Host, account Account) int {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	if l := h.slots.lines[account]; l != nil {
		return l.waiting
	}
	return 0
}

// Reserved returns the memory that calls have reserved.
func Reserved(h *Host) int64 {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	return h.slots.memory.used
}
