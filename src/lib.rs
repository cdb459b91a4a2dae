//! runt: runit for small Linux boards, without libc, heap or threads.
//!
//! | module | purpose | may use |
//! |---|---|---|
//! | [`config`] | every capacity, from the board | - |
//! | [`text`] | names, paths, lines of bounded length | config |
//! | [`wire`], [`args`] | bytes <-> meaning, argv -> request | each other, text, config |
//! | [`machine`] | state x event -> state + actions | wire, text, config |
//! | [`sys`] | Linux: the only unsafe code | wire, text, config |
//! | [`supervisor`] | the loop | machine, sys, wire, text, config |
//! | [`applet`] | one file per program | all |
//!
//! `cargo xtask tidy` checks the last column.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]
// Code of a family of programs that the board leaves out.
#![cfg_attr(some_programs, allow(dead_code, reason = "another build has it"))]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "a test may overflow: it then fails"
    )
)]

pub mod applet;
pub mod args;
pub mod config;
pub mod machine;
pub mod supervisor;
#[allow(unsafe_code, reason = "the one place for it")]
pub mod sys;
pub mod text;
pub mod wire;
