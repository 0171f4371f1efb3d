package knowledge

import "strconv"

// DatetimeSeconds returns what a [Datetime] is compared by: the seconds since 1970
// of its instant, rounded to the microsecond and then to the nearest float64, which
// tells microseconds apart until 2242 and 31 of them in 9999. Errors are those of
// [ParseDatetime].
func DatetimeSeconds(s string) (float64, error) {
	t, err := ParseDatetime(s)
	if err != nil {
		return 0, err
	}
	// From decimal, as PostgreSQL does: a division of the microseconds, which
	// can be more than a float64 tells apart, would round twice.
	micro, sign := t.UnixMicro(), ""
	if micro < 0 {
		micro, sign = -micro, "-"
	}
	fraction := strconv.FormatInt(1_000_000+micro%1_000_000, 10)[1:]
	return strconv.ParseFloat(sign+strconv.FormatInt(micro/1_000_000, 10)+"."+fraction, 64)
}
