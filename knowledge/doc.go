// Package knowledge has the words of TARS: tenants, collections, records,
// queries, matches, and the contracts of what keeps them ([Store]) and of what
// turns text into vectors ([Embedder]).
//
// It imports nothing of ours and no foreign package. Its types carry no json
// or db tags: api and the stores translate. An identifier is a type that only
// its Parse function makes, so that holding one means that it was checked.
//
// What it leaves to others: how a query is answered (knowledge/query), how
// records are kept (knowledge/pgstore, knowledge/memstore), who may ask
// (knowledge/tenancy), and what tenants' code does (plugins).
package knowledge
