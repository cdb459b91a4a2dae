//! Defines the entry point; `runt::applet` selects the program.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

runt::program!(runt::applet::main);
