//! Which program this is started as: see `runt::applet`.
#![no_std]
#![no_main]

runt::program!(runt::applet::main);
