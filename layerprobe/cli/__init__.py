"""The command line: parse, build the configuration, call one function of the library, render. No science."""
