// Package wasm reads WebAssembly core modules that nobody has vouched for.
//
// [Check] walks a whole module, every instruction of every function included,
// and either describes it or refuses it with the section, the offset, the
// limit and the need. It is the only code that looks at a guest's bytes in the
// process that serves the API, so it is built to be given anything: time is
// linear in the input, memory is a small multiple of it, every count is
// compared with the bytes that are left before anything is allocated for it,
// and there is no recursion.
//
// What Check accepts has no lying counts, no index out of range, no feature
// that the host does not run, and no size beyond [Limits]. It does not check
// the types of operands: the engine validates modules fully, in a cell that
// may be lost. Check exists so that the engine meets nothing that would cost
// it memory or time out of proportion to the module's size.
//
// The package imports only the standard library and knows neither the engine
// nor tenants.
package wasm
