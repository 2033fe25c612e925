package simnet

// Uncheck leaves out the built-in checks while a world runs, so that what clients
// see is all that is judged.
func (o *Options) Uncheck() { o.unchecked = true }
