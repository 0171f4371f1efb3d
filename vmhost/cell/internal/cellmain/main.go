// Command cellmain is the smallest binary with a "cell" command.
package main

import (
	"os"

	"github.com/tars-project/tars/vmhost/cell"
)

func main() { os.Exit(cell.Main()) }
