//! `cargo xtask`: fetches, builds, boots and proves; one verb, one file.

mod apt;
mod audit;
mod bench;
mod board;
mod boot;
mod bootloader;
mod build;
mod disk;
mod image;
mod old_kernel;
mod peers;
mod powercut;
mod qemu;
mod rootfs;
mod run;
mod scenario;
mod setup;
mod size;
mod syscalls;
mod test;
mod tidy;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Builds, boots and proves runt.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Subcommand)]
enum Verb {
    /// Find or fetch core's source, kernels, busybox and QEMU.
    Setup {
        /// For this board only; else for those that the tests boot.
        #[arg(long)]
        board: Option<String>,
    },
    /// Build the release file of a board.
    Build {
        /// The board: a file in boards/ without its `.toml`.
        #[arg(long, required_unless_present = "all")]
        board: Option<String>,
        /// Of every board.
        #[arg(long, conflicts_with = "board")]
        all: bool,
        /// Put the file and a link for each program there.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Build the boot image of a board.
    Image {
        /// The board.
        #[arg(long, default_value = board::DEFAULT)]
        board: String,
        /// What is in it: a directory in qemu/tree.
        #[arg(long, default_value = image::DEFAULT)]
        tree: String,
        /// What the root is on.
        #[arg(long, value_enum, default_value_t)]
        root: rootfs::Root,
    },
    /// Boot a board in QEMU, its serial console in this terminal.
    Boot {
        /// The board.
        #[arg(long, default_value = board::DEFAULT)]
        board: String,
        /// What is in the image: a directory in qemu/tree.
        #[arg(long, default_value = image::DEFAULT)]
        tree: String,
        /// What the root is on.
        #[arg(long, value_enum, default_value_t)]
        root: rootfs::Root,
        /// Run this program of the image when services are up, switch off and
        /// answer its exit code; 125 when the guest has none to tell.
        #[arg(long, value_name = "PROGRAM")]
        rig: Option<String>,
        /// How many seconds that may take.
        #[arg(long, default_value_t = 300.0, requires = "rig")]
        within_s: f64,
    },
    /// Weigh the release files against their boards' budgets.
    Size {
        /// Of this board only; else of all.
        #[arg(long)]
        board: Option<String>,
        /// Keep the figures in this file.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Show what has changed since this file was saved.
        #[arg(long, value_name = "FILE")]
        compare: Option<PathBuf>,
    },
    /// Prove that the release files are without panics, heap and libc.
    Audit {
        /// Of this board only; else of all.
        #[arg(long)]
        board: Option<String>,
    },
    /// Check all that can be checked, in QEMU too.
    Test {
        /// Only what needs neither another architecture, QEMU nor Debian's runit.
        #[arg(long)]
        quick: bool,
        /// Boot every board, not only those that say `test = true`.
        #[arg(long, conflicts_with = "quick")]
        all_boards: bool,
        /// Only the parts whose name contains this: `unit`, `riscv64 kill`.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Measure the programs against their peers and the kernel's own cost.
    #[command(subcommand)]
    Bench(bench::Subject),
    /// Run a program without the system calls that came after Linux 4.4.
    OldKernel {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        words: Vec<OsString>,
    },
    /// Check the rules of the house that no compiler checks.
    Tidy,
}

/// Runs one verb; an error is printed with all its causes.
fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Setup { board } => setup::run(board.as_deref()),
        Verb::Build { board, out, .. } => {
            build::run(board.as_deref(), out.as_deref())
        }
        Verb::Image { board, tree, root } => image::run(&board, &tree, root),
        Verb::Boot {
            board,
            tree,
            root,
            rig: Some(program),
            within_s,
        } => {
            return boot::rig(&board, &tree, root, &program, within_s).into();
        }
        Verb::Boot {
            board, tree, root, ..
        } => boot::run(&board, &tree, root),
        Verb::Size {
            board,
            save,
            compare,
        } => size::run(board.as_deref(), save.as_deref(), compare.as_deref()),
        Verb::Audit { board } => audit::run(board.as_deref()),
        Verb::Test {
            quick,
            all_boards,
            only,
        } => test::run(quick, all_boards, only.as_deref()),
        Verb::OldKernel { words } => old_kernel::run(&words),
        Verb::Bench(subject) => bench::run(subject),
        Verb::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
