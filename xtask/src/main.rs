//! Implements `cargo xtask`, which fetches, builds, boots and tests: one
//! subcommand, one file.

mod apt;
mod audit;
mod bench;
mod binfmt;
mod board;
mod boards;
mod boot;
mod booted;
mod bootloader;
mod build;
mod cargo;
mod completion;
mod debian;
mod disk;
mod dist;
mod env;
mod fuzz;
mod image;
mod install;
mod integration;
mod man;
mod old_kernel;
mod peers;
mod powercut;
mod python;
mod qemu;
mod rig;
mod rootfs;
mod run;
mod scenario;
mod setup;
mod size;
mod soak;
mod syscalls;
mod test;
mod tidy;
mod tool;
mod toolchain;
mod version;

/// The linker arguments of src/build.rs: tested here, because a build script
/// has no tests.
#[cfg(test)]
#[path = "../../src/build/link_args.rs"]
mod link_args;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Build, boot and test runt.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// The subcommand.
#[derive(Subcommand)]
enum Verb {
    /// Find or fetch the source of core, the kernels, busybox and QEMU.
    Setup {
        /// Only for this board; default: all boards that `test` boots.
        #[arg(long)]
        board: Option<String>,
    },
    /// Build the release file of a board.
    Build {
        /// The board: the name of a file in boards/ without `.toml`, or the
        /// path of a board file elsewhere.
        #[arg(long, required_unless_present = "all")]
        board: Option<String>,
        /// Build the release file of every board.
        #[arg(long, conflicts_with = "board")]
        all: bool,
        /// Install the file, and a link for each program, into this directory,
        /// and manuals and completion below its `share`.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Fail if a file exceeds its board's budget.
        #[arg(long)]
        strict: bool,
    },
    /// Write a release: archives, packages, bills of materials, sources, hashes.
    Dist {
        /// Only this board; default: all boards.
        #[arg(long)]
        board: Option<String>,
        /// The directory to write to.
        #[arg(long, default_value = "target/xtask/dist")]
        out: PathBuf,
        /// Build everything a second time, in another folder, as another user,
        /// at another date and with other settings, and compare.
        #[arg(long)]
        verify: bool,
    },
    /// Render the manuals as man pages and as HTML.
    Man {
        /// The directory to write to.
        #[arg(long, default_value = "target/xtask/man")]
        out: PathBuf,
    },
    /// Print the variables that carry a board's values to `cargo build`.
    Env {
        /// The board.
        #[arg(long)]
        board: String,
        /// The language to print them in.
        #[arg(long, value_enum, default_value_t)]
        format: env::Format,
    },
    /// List the boards: what each has, and what was booted here.
    Boards,
    /// Build the boot image of a board.
    Image {
        /// The board.
        #[arg(long, default_value = board::DEFAULT)]
        board: String,
        /// The contents: a directory in qemu/tree.
        #[arg(long, default_value = image::DEFAULT)]
        tree: String,
        /// The kind of root file system.
        #[arg(long, value_enum, default_value_t)]
        root: rootfs::Root,
    },
    /// Boot a board in QEMU with its serial console in this terminal.
    Boot {
        /// The board.
        #[arg(long, default_value = board::DEFAULT)]
        board: String,
        /// The contents of the image: a directory in qemu/tree.
        #[arg(long, default_value = image::DEFAULT)]
        tree: String,
        /// The kind of root file system.
        #[arg(long, value_enum, default_value_t)]
        root: rootfs::Root,
    },
    /// Run a program in a guest and exit with its exit code.
    Rig(rig::Options),
    /// Compare the sizes of the release files with their boards' budgets.
    Size {
        /// Only this board; default: all boards.
        #[arg(long)]
        board: Option<String>,
        /// Show instead by how much each file shrinks without each family of
        /// programs; builds each board once for each family.
        #[arg(long, conflicts_with_all = ["save", "compare"])]
        families: bool,
        /// Save the sizes to this file.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Show the differences from the sizes in this file.
        #[arg(long, value_name = "FILE")]
        compare: Option<PathBuf>,
    },
    /// Check that the release files contain no panics, heap or libc.
    Audit {
        /// Only this board; default: all boards.
        #[arg(long)]
        board: Option<String>,
    },
    /// Run all tests, including those in QEMU.
    Test {
        /// Skip everything that needs QEMU, Debian's runit or another
        /// architecture.
        #[arg(long)]
        quick: bool,
        /// Boot every board, not only those with `test = true`.
        #[arg(long, conflicts_with = "quick")]
        all_boards: bool,
        /// Also run the host tests that take minutes each.
        #[arg(long, conflicts_with = "quick")]
        long: bool,
        /// Run only the parts whose name contains this text, such as `unit` or
        /// `riscv64 kill`.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Check the Buildroot external tree and the Yocto layer in boards/.
    CheckIntegration {
        /// A tree of Buildroot for the checks that need one.
        #[arg(long, value_name = "DIR")]
        buildroot: Option<PathBuf>,
        /// A tree of poky or openembedded-core for the checks that need one.
        #[arg(long, value_name = "DIR")]
        poky: Option<PathBuf>,
    },
    /// Run every reader of bytes on generated inputs, under libFuzzer.
    Fuzz {
        /// Only this target of tests/fuzz; default: all.
        target: Option<String>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Add inputs that reach new code to tests/fuzz/corpus.
        #[arg(long)]
        merge: bool,
    },
    /// Supervise 64 services that end at random, amid commands, changes, kills
    /// and faults.
    Soak {
        /// Duration in minutes.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// Seed of the random events; a random one is printed.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Compare the programs with their peers and with the cost of the kernel.
    #[command(subcommand)]
    Bench(bench::Subject),
    /// Run a program as on Linux 4.4: newer system calls fail with ENOSYS.
    OldKernel {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        words: Vec<OsString>,
    },
    /// Check the rules of this repository that the compiler does not check.
    Tidy,
}

/// Runs one subcommand; an error is printed with all its causes.
fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && rig::is_named() => {
            // Nothing is left to do if it cannot be printed.
            let _printed = error.print();
            return rig::USAGE.into();
        }
        Err(error) => error.exit(),
    };
    let done = match arguments.verb {
        Verb::Setup { board } => setup::run(board.as_deref()),
        Verb::Build {
            board, out, strict, ..
        } => install::run(board.as_deref(), out.as_deref(), strict),
        Verb::Man { out } => man::run(&out),
        Verb::Dist { board, out, verify } => {
            dist::run(board.as_deref(), &out, verify)
        }
        Verb::Env { board, format } => env::run(&board, format),
        Verb::Boards => boards::run(),
        Verb::Image { board, tree, root } => image::run(&board, &tree, root),
        Verb::Boot { board, tree, root } => boot::run(&board, &tree, root),
        Verb::Rig(options) => return rig::run(&options).into(),
        Verb::Size {
            board,
            families: true,
            ..
        } => size::families(board.as_deref()),
        Verb::Size {
            board,
            save,
            compare,
            ..
        } => size::run(board.as_deref(), save.as_deref(), compare.as_deref()),
        Verb::Audit { board } => audit::run(board.as_deref()),
        Verb::Test {
            quick,
            all_boards,
            long,
            only,
        } => test::run(quick, all_boards, long, only.as_deref()),
        Verb::OldKernel { words } => old_kernel::run(&words),
        Verb::CheckIntegration { buildroot, poky } => {
            integration::run(buildroot.as_deref(), poky.as_deref())
        }
        Verb::Fuzz {
            target,
            seconds,
            merge,
        } => fuzz::run(target.as_deref(), seconds, merge),
        Verb::Soak { minutes, seed } => soak::run(minutes, seed),
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
