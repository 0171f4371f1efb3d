package vmhost

// Artifact is a program in the form that an engine made of it, so that another
// process with the same engine need not do it again. It is made by code that the
// program may have taken over: whoever loads it must be as well jailed as if it
// ran the program's owner's native code, and must serve that owner alone.
type Artifact struct {
	// Name is the file that the engine looks for: a folder and a file in it,
	// with a slash between; see vmhost/cell/artifact for what is let in.
	Name string
	// Header is what the engine needs besides, at most [MaxArtifactHeader]
	// bytes; opaque to all others.
	Header []byte
	Module []byte // what the engine loads in place of the source
	Code   []byte // content of the file
}

// MaxArtifactHeader bounds [Artifact.Header], bytes.
const MaxArtifactHeader = 1 << 20
