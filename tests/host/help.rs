//! Tests that every program prints its help on descriptor 1 and exits with 0,
//! whatever it does otherwise, and that wrong usage stays what it is.

use crate::util::{
    TestDir, init::can_run_pid_1, output_of, shell::shell, skip,
};

#[test]
fn every_program_prints_help_and_does_nothing_else() {
    if !can_run_pid_1() {
        return skip("no PID namespace");
    }
    let tmp = TestDir::new();
    // In a namespace of its own: a `reboot` without help asks PID 1.
    let script = r#"
        for name in $(runt --list) runt 'runt limits' 'runt sv' 'sv help'; do
            case $name in sv\ *) help=; program=sv;; *) help=--help; program=${name#runt };; esac
            case $program in limits) program=runt; esac
            out=$($name $help 2>errors) || echo "$name exits with $?"
            case $out in "usage: $program"*) ;; *) echo "$name prints $out";; esac
            [ ! -s errors ] || echo "$name prints on descriptor 2"
        done
        runt --list | wc -l >count
    "#;
    let mut command = tmp.command(&["runt"]);
    let words = ["-fpm", "--mount-proc", "sh", "-c", script];
    let mut inside = std::process::Command::new("unshare");
    inside.args(words).current_dir(tmp.path("."));
    for (name, value) in command.env_remove("SVDIR").get_envs() {
        inside.env(name, value.unwrap_or_default());
    }
    let output = output_of(&mut inside);
    assert_eq!((&*output.stdout, &*output.stderr), ("", ""));
    let count: usize = tmp.read("count").trim().parse().unwrap();
    assert!(count >= 30, "{count}");
}

/// Help is asked for by `--help` alone; anything else means what it does to
/// runit.
#[test]
fn other_uses_of_the_words_are_those_of_runit() {
    let tmp = TestDir::new();
    let usage = "usage: sv [-v] [-w sec] command service ...\n\n= 100\n";
    let rows = [
        ("sv --help x", format!("sv: illegal option -- -\n{usage}")),
        // It is `hup`.
        (
            "sv help ./x",
            "fail: ./x: unable to change to service directory: \
             file does not exist\n= 1\n"
                .into(),
        ),
        (
            "ln -s bin/sv web; ./web --help",
            "web: illegal option -- -\nusage: web [-w sec] command\n\n= 2\n"
                .into(),
        ),
        ("mkdir d; envdir d printf %s --help", "--help= 0\n".into()),
        ("pgrphack printf %s --help", "--help= 0\n".into()),
    ];
    for (script, expected) in rows {
        assert_eq!(shell(&tmp, script), expected, "{script}");
    }
}
