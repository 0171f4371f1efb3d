package wasm

// Names of the modules that a plugin may import from.
const (
	HostModule = "tars:plugin/host@0.1.0" // the host's own functions
	WASIModule = "wasi_snapshot_preview1" // WASI preview 1
)

// sig makes a function type from one letter for each value: i is i32, I is i64.
func sig(params, results string) FuncType {
	values := func(letters string) []ValueType {
		var types []ValueType
		for _, c := range letters {
			if c == 'I' {
				types = append(types, I64)
			} else {
				types = append(types, I32)
			}
		}
		return types
	}
	return FuncType{values(params), values(results)}
}

// PluginImports returns what a plugin that is a core module may import: the
// host interface of the plugin world by the canonical ABI, and WASI preview 1,
// whole, because language runtimes import functions that they never call.
// That a module may import a function does not say that the host grants it.
func PluginImports() map[string]map[string]FuncType {
	return map[string]map[string]FuncType{
		HostModule: {
			"search":  sig("iii", ""),  // request pointer and length, where to put the result
			"embed":   sig("iii", ""),  // text pointer and length, where to put the result
			"vectors": sig("iiii", ""), // leg, first, count, where to put the result
			"log":     sig("iii", ""),  // level, message pointer and length
		},
		WASIModule: previewOne(),
	}
}

// PluginExports returns what a plugin that is a core module must and may
// export, by the canonical ABI of the plugin world.
func PluginExports() map[string]ExportNeed {
	return map[string]ExportNeed{
		"memory":           {Kind: KindMemory},
		"handle":           {Kind: KindFunc, Type: sig("iiii", "i")}, // capability and input, each pointer and length; pointer to the result
		"cabi_realloc":     {Kind: KindFunc, Type: sig("iiii", "i")},
		"cabi_post_handle": {Kind: KindFunc, Type: sig("i", ""), Optional: true},
		"_initialize":      {Kind: KindFunc, Optional: true},
		// Called before an image is taken, and not otherwise: makes ready what
		// every call needs, such as allocators and tables of decoders.
		"warm_up": {Kind: KindFunc, Optional: true},
	}
}

// previewOne returns the functions of WASI preview 1 by signature. All return
// an error number, except proc_exit.
func previewOne() map[string]FuncType {
	byParams := map[string][]string{
		"":  {"sched_yield"},
		"i": {"fd_close", "fd_datasync", "fd_sync", "proc_raise"},
		"ii": {
			"args_get", "args_sizes_get", "clock_res_get", "environ_get", "environ_sizes_get",
			"fd_fdstat_get", "fd_fdstat_set_flags", "fd_filestat_get", "fd_prestat_get", "fd_renumber",
			"fd_tell", "random_get", "sock_shutdown",
		},
		"iII":       {"fd_allocate", "fd_fdstat_set_rights"},
		"iI":        {"fd_filestat_set_size"},
		"iIi":       {"clock_time_get"},
		"iIIi":      {"fd_advise", "fd_filestat_set_times"},
		"iIii":      {"fd_seek"},
		"iii":       {"fd_prestat_dir_name", "path_create_directory", "path_remove_directory", "path_unlink_file", "sock_accept"},
		"iiii":      {"fd_read", "fd_write", "poll_oneoff"},
		"iiiIi":     {"fd_pread", "fd_pwrite", "fd_readdir"},
		"iiiii":     {"path_filestat_get", "path_symlink", "sock_send"},
		"iiiiii":    {"path_readlink", "path_rename", "sock_recv"},
		"iiiiiii":   {"path_link"},
		"iiiiIIi":   {"path_filestat_set_times"},
		"iiiiiIIii": {"path_open"},
	}
	functions := map[string]FuncType{"proc_exit": sig("i", "")}
	for params, names := range byParams {
		for _, name := range names {
			functions[name] = sig(params, "i")
		}
	}
	return functions
}
