package document

// String returns the kind's name: paragraph, heading, item, code or table.
func (k Kind) String() string {
	switch k {
	case Paragraph:
		return "paragraph"
	case Heading:
		return "heading"
	case Item:
		return "item"
	case Code:
		return "code"
	case Table:
		return "table"
	}
	return "unknown"
}

// PageAt returns the page of the last block that begins at offset or before it; 0
// where there are no pages.
func (t Text) PageAt(offset int) int {
	page := 0
	for _, b := range t.Blocks {
		if b.Start > offset {
			break
		}
		page = b.Page
	}
	return page
}
