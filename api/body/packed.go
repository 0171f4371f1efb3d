package body

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tars-project/tars/knowledge"
)

// packed reads a vector in base64, of components of 4 or 2 bytes.
func (d *decoder) packed(size int) ([]float32, error) {
	token, err := d.token('"')
	if err != nil {
		return nil, err
	}
	text := token.String()
	if most := base64.StdEncoding.EncodedLen(size * knowledge.MaxDimension); len(text) > most {
		return nil, knowledge.Invalid("", "has %d bytes; at most %d are allowed", len(text), most)
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(data, []byte(text))
	if err != nil || n == 0 || n%size != 0 {
		return nil, knowledge.Invalid("", "is not base64 of 1 to %d components of %d bytes", knowledge.MaxDimension, size)
	}
	v := make([]float32, n/size)
	for i := range v {
		if size == 4 {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		} else {
			v[i] = fromHalf(binary.LittleEndian.Uint16(data[2*i:]))
		}
		if !(math.Abs(float64(v[i])) <= maxComponent) { // NaN too
			return nil, knowledge.Invalid("["+strconv.Itoa(i)+"]", "is not finite or beyond ±%g", float64(maxComponent))
		}
	}
	return v, nil
}

// PackF32 gives the bytes of a vector_f32.
func PackF32(v []float32) []byte {
	data := make([]byte, 0, 4*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return data
}

// PackF16 gives the bytes of a vector_f16. Each component must be one that half
// precision has.
func PackF16(v []float32) []byte {
	data := make([]byte, 0, 2*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint16(data, toHalf(x))
	}
	return data
}

// Of IEEE 754: where exponents begin, and how many bits a fraction has.
const (
	bias32, fraction32 = 127, 23
	bias16, fraction16 = 15, 10
)

// fromHalf returns the number that the bits of a half stand for.
func fromHalf(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := int(h>>fraction16)&0x1f, uint32(h)&(1<<fraction16-1)
	switch exponent {
	case 0: // subnormal: whole multiples of 2^-24
		x := math.Float32bits(float32(math.Ldexp(float64(fraction), -24)))
		return math.Float32frombits(sign | x)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<fraction32 | fraction<<(fraction32-fraction16))
	}
	return math.Float32frombits(sign | uint32(exponent-bias16+bias32)<<fraction32 | fraction<<(fraction32-fraction16))
}

// toHalf is the inverse of fromHalf for finite numbers.
func toHalf(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits>>31) << 15
	exponent, fraction := int(bits>>fraction32)&0xff-bias32, bits&(1<<fraction32-1)
	switch {
	case x == 0:
		return sign
	case exponent < 1-bias16:
		return sign | uint16((1<<fraction32|fraction)>>(-exponent-1))
	}
	return sign | uint16(exponent+bias16)<<fraction16 | uint16(fraction>>(fraction32-fraction16))
}
