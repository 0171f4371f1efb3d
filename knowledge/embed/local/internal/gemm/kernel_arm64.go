package gemm

// fast is what every processor of this kind has.
var fast = true

// kernel multiplies block rows by a panel.
func kernel(k int, x []float32, xStride int, p Panel, y []float32, yStride int, a *Affine) {
	if !fast {
		multiplyGeneric(k, x, xStride, p, y, yStride, a)
		return
	}
	_, _, _ = x[(block-1)*xStride+k-1], p[k*Lanes-1], y[(block-1)*yStride+Lanes-1]
	multiply6x16(k, &x[0], 4*xStride, &p[0], &y[0], 4*yStride, a)
}

// widen turns weights of 8 bits, a multiple of Lanes, into numbers.
func widen(into []float32, weights string) { widenGeneric(into, weights) }

// multiply6x16 is the kernel with NEON; strides are in bytes, k is at least 1.
//
//go:noescape
func multiply6x16(k int, x *float32, xStride int, p *float32, y *float32, yStride int, a *Affine)
