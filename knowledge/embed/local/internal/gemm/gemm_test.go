package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func random(r *rand.Rand, n int) []float32 {
	all := make([]float32, n)
	for i := range all {
		all[i] = float32(r.NormFloat64())
	}
	return all
}

// withBoth runs a test with the assembly, if there is any, and without.
func withBoth(t *testing.T, test func(t *testing.T)) {
	was := fast
	defer func() { fast = was }()
	for _, fast = range []bool{was, false} {
		t.Run(fmt.Sprintf("fast=%t", fast), test)
	}
}

// TestMultiply: what float64 gives, up to the rounding of k additions, whatever the
// shape; and nothing beside it is written.
func TestMultiply(t *testing.T) {
	withBoth(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		var pad Padding
		for _, k := range []int{1, 2, 7, 64, 256, 868, 1536} {
			for rows := 1; rows <= 19; rows++ {
				xStride, yStride := k+rows%3, Lanes+rows%5
				x, p := random(r, rows*xStride), Panel(random(r, k*Lanes))
				y := slices.Repeat([]float32{7}, rows*yStride)
				a := Affine{[Lanes]float32(random(r, Lanes)), [Lanes]float32(random(r, Lanes))}
				Multiply(rows, k, x, xStride, p, y, yStride, &a, &pad)
				for i := range rows {
					for j := range yStride {
						got, want, size := float64(y[i*yStride+j]), 7.0, 0.0
						if j < Lanes {
							want = 0
							for n := range k {
								product := float64(x[i*xStride+n]) * float64(p[n*Lanes+j])
								want, size = want+product, size+math.Abs(product)
							}
							want = want*float64(a.Scale[j]) + float64(a.Bias[j])
							size = (size*math.Abs(float64(a.Scale[j])) + math.Abs(float64(a.Bias[j]))) * float64(k+2) / (1 << 24)
						}
						if !(math.Abs(got-want) <= size) {
							t.Fatalf("k %d, row %d of %d, column %d = %g, want %g within %g", k, i, rows, j, got, want, size)
						}
					}
				}
			}
		}
	})
}

// TestRowsAreAlone: a row has the same bits among any others.
func TestRowsAreAlone(t *testing.T) {
	withBoth(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		const k, rows = 97, 23
		x, p := random(r, rows*k), Panel(random(r, k*Lanes))
		var a Affine
		for i := range Lanes {
			a.Scale[i], a.Bias[i] = 1, 0.5
		}
		var pad Padding
		all := make([]float32, rows*Lanes)
		Multiply(rows, k, x, k, p, all, Lanes, &a, &pad)
		for from := range rows {
			for to := from + 1; to <= rows; to++ {
				some := make([]float32, (to-from)*Lanes)
				Multiply(to-from, k, x[from*k:], k, p, some, Lanes, &a, &pad)
				if !slices.Equal(some, all[from*Lanes:to*Lanes]) {
					t.Fatalf("rows %d to %d differ from the same among all", from, to)
				}
			}
		}
	})
}

func TestMatrix(t *testing.T) {
	withBoth(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		const in, out, rows = 50, 48, 9
		weights, bias := random(r, in*out), random(r, out)
		data := Encode(nil, weights, in, out, func(j int, _ []float32) float32 { return bias[j] })
		m, rest, err := Decode(string(data)+"rest", in, out)
		if err != nil || rest != "rest" || m.In() != in || m.Out() != out {
			t.Fatalf("Decode = %v, %q, %v, want the matrix and the rest", m, rest, err)
		}
		x, y := random(r, rows*in), make([]float32, rows*out)
		m.Multiply(rows, x, y, new(Scratch))
		for i := range rows {
			for j := range out {
				want, size := float64(bias[j]), 0.0
				for n := range in {
					want += float64(x[i*in+n]) * float64(weights[n*out+j])
					size += math.Abs(float64(x[i*in+n])) * 4 / 127 / 2 // normal weights stay below 4
				}
				if got := float64(y[i*out+j]); math.Abs(got-want) > size {
					t.Fatalf("row %d, column %d = %g, want %g within the rounding to 8 bits, %g", i, j, got, want, size)
				}
			}
		}
	})
	for _, sizes := range [][2]int{{50, 47}, {0, 48}, {50, 0}, {51, 48}, {-1, 48}} {
		if _, _, err := Decode(string(make([]byte, 50*48+8*48)), sizes[0], sizes[1]); err == nil {
			t.Errorf("Decode of %d x %d = nil, want an error", sizes[0], sizes[1])
		}
	}
}

func TestWiden(t *testing.T) {
	var weights []byte
	var want []float32
	for i := range 256 {
		weights, want = append(weights, byte(i)), append(want, float32(int8(i)))
	}
	withBoth(t, func(t *testing.T) {
		got := make([]float32, 256)
		if widen(got, string(weights)); !slices.Equal(got, want) {
			t.Errorf("widen = %v, want %v", got, want)
		}
	})
}

func BenchmarkMatrix(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	const in, out = 512, 1536
	m, _, err := Decode(string(Encode(nil, random(r, in*out), in, out, func(int, []float32) float32 { return 0 })), in, out)
	if err != nil {
		b.Fatal(err)
	}
	for _, rows := range []int{6, 24, 96, 192} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			x, y, s := random(r, rows*in), make([]float32, rows*out), new(Scratch)
			for b.Loop() {
				m.Multiply(rows, x, y, s)
			}
			b.ReportMetric(float64(rows*in*out)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
	}
}
