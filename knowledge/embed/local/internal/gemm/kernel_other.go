//go:build !amd64 && !arm64

package gemm

// fast: there is no assembly for this processor.
var fast = false

// kernel multiplies block rows by a panel.
func kernel(k int, x []float32, xStride int, p Panel, y []float32, yStride int, a *Affine) {
	multiplyGeneric(k, x, xStride, p, y, yStride, a)
}

// widen turns weights of 8 bits into numbers.
func widen(into []float32, weights string) { widenGeneric(into, weights) }
