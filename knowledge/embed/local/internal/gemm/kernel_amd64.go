package gemm

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// fast reports whether the processor has what the assembly needs.
var fast = cpu.X86.HasAVX2 && cpu.X86.HasFMA

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
func widen(into []float32, weights string) {
	if !fast {
		widenGeneric(into, weights)
		return
	}
	_ = into[len(weights)-1]
	widen16(&into[0], unsafe.StringData(weights), len(weights)/Lanes)
}

// multiply6x16 is the kernel with AVX2 and FMA; strides are in bytes, k is at least 1.
//
//go:noescape
func multiply6x16(k int, x *float32, xStride int, p *float32, y *float32, yStride int, a *Affine)

// widen16 widens n times 16 weights.
//
//go:noescape
func widen16(into *float32, weights *byte, n int)
