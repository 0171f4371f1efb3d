// Package artifact keeps what compile cells made, so that a program that comes
// back to a node need not be compiled again.
//
// A [Cache] is a directory that this process's user alone may enter. An entry is
// one file, named by its [Key], which is made of everything that the compiled
// code depends on and of the account that it belongs to: entries are shared by
// nobody. Each entry carries a MAC over its key and all its content, under a key
// that is not in the directory. An entry that is not exactly what was written is
// no entry: it is removed, and the program compiled anew.
//
// The MAC proves storage, not honesty: a compile cell that was taken over by its
// module may have given any code. That code is its owner's, runs in a cell of its
// owner, and reaches nobody else.
//
// A [Folder] is what one cell sees of the cache: a directory with the code of the
// program that it runs. The package knows neither engines nor cells.
//
// Layout of the directory:
//
//	lock             held while the folders of processes are made or removed
//	entries/KEY      one file for each entry
//	run/NAME/        of one process, locked while it lives; removed by the next
//	run/NAME/new-*   entries being written
//	run/NAME/PLACE/  folders of cells
package artifact
