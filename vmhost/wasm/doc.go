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
// [Meter] rewrites a module that Check accepts so that it counts what it does:
// fuel for every instruction, bytes of stack for every frame. It has no package
// of its own because it reads what Check reads: it takes over the types,
// indices and sections that were checked, and decodes with the same decoder,
// so that there is one reading of a module and not two that might differ. It
// runs where modules are compiled, in a cell.
//
// Fuel is exact: a call that returns has used the costs of the instructions
// that it ran (see metercost.go), counted before they run. Stack is an
// estimate from above of what the engine's compiler needs (see meterframe.go).
// Operations on more than 64 KiB of memory are done in pieces with a look at
// the fuel between them. The meter leaves code that is never reached
// unmetered but in place, so that a module is valid with the meter if and only
// if it was valid without.
//
// The package imports only the standard library and knows neither the engine
// nor tenants.
package wasm
