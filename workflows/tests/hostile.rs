//! Files that were made to do harm: each is refused with the code that names the cause.

use skep_workflow::{Style, read};

fn check(source: &[u8], code: &str) {
    let rejected = read(source, "hostile").expect_err("the file is accepted");
    let codes: Vec<String> =
        rejected.diagnostics().iter().map(|one| one.code.to_string()).collect();
    assert!(codes.iter().any(|found| found == code), "{code} is not among {codes:?}");
    // Whatever the file is, what is drawn of it is bounded.
    assert!(rejected.render(Style::Plain).len() < 1024 * 1024);
    assert!(rejected.render(Style::Colour).len() < 1024 * 1024);
}

fn with_steps(steps: &str) -> Vec<u8> {
    format!("name: n\nsteps:\n{steps}").into_bytes()
}

#[test]
fn files_that_are_too_large() {
    check(&vec![b'a'; 1024 * 1024 + 1], "SK0001");
    check(&vec![b'\n'; 256 * 1024 * 1024], "SK0001");
    let steps: String = (0..10_001).map(|step| format!("  s{step}: {{ agent: x }}\n")).collect();
    check(&with_steps(&steps), "SK0023");
    let inputs: String = (0..300).map(|input| format!("  i{input}: true\n")).collect();
    check(format!("name: n\ninputs:\n{inputs}steps: {{ a: {{ agent: x }} }}").as_bytes(), "SK0023");
}

#[test]
fn files_that_are_deep() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")] {
        let deep = format!("name: {}x{}", open.repeat(100_000), close.repeat(100_000));
        assert!(read(deep.as_bytes(), "deep").is_err());
    }
    let groups: String = (0..20)
        .map(|depth| {
            format!(
                "{}g{depth}:\n{}steps:\n",
                "  ".repeat(2 * depth + 1),
                "  ".repeat(2 * depth + 2)
            )
        })
        .collect();
    check(&with_steps(&groups), "SK0004");
}

#[test]
fn cycles_of_ten_thousand_steps() {
    let ring: String = (0..10_000)
        .map(|step| format!("  s{step}: {{ agent: x, needs: [s{}] }}\n", (step + 1) % 10_000))
        .collect();
    check(&with_steps(&ring), "SK0026");
}

#[test]
fn ten_thousand_unknown_steps() {
    let steps: String = (0..9_000)
        .map(|step| format!("  step_{step}: {{ agent: x, needs: [stepp_{step}] }}\n"))
        .collect();
    check(&with_steps(&steps), "SK0024");
    let steps: String = (0..9_000)
        .map(|step| {
            format!(
                "  step_{step}: {{ agent: x, with: \"${{{{ steps.stepp_{step}.output }}}}\" }}\n"
            )
        })
        .collect();
    check(&with_steps(&steps), "SK0032");
}

#[test]
fn everybody_needs_everybody() {
    let ids: Vec<String> = (0..1_000).map(|step| format!("s{step}")).collect();
    let all = ids.join(",");
    let steps = format!("  a: {{ agent: x, needs: &all [{all}] }}\n")
        + &(0..1_000)
            .map(|step| format!("  s{step}: {{ agent: x, needs: *all }}\n"))
            .collect::<String>();
    check(&with_steps(&steps), "SK0005");
}

#[test]
fn one_long_line_with_a_thousand_problems() {
    let needs = vec!["nobody"; 100_000].join(",");
    check(&with_steps(&format!("  a: {{ agent: x, needs: [{needs}] }}\n")), "SK0024");
    let text = "${{ x }}".repeat(100_000);
    check(&with_steps(&format!("  a: {{ agent: x, with: \"{text}\" }}\n")), "SK0029");
}

#[test]
fn keys_and_names_of_a_megabyte() {
    let long = "x".repeat(900_000);
    check(format!("name: {long}\nsteps: {{ a: {{ agent: x }} }}").as_bytes(), "SK0012");
    check(format!("{long}: 1\nname: n\nsteps: {{ a: {{ agent: x }} }}").as_bytes(), "SK0003");
    check(&with_steps(&format!("  a: {{ agent: x, timeout: {long} }}\n")), "SK0014");
    check(&with_steps(&format!("  a: {{ agent: x, if: {long} }}\n")), "SK0028");
}

#[test]
fn patterns_that_cost_too_much() {
    let many: String = (0..200)
        .map(|step| format!("  s{step}: {{ agent: x, expect: {{ pattern: \"a{step}\" }} }}\n"))
        .collect();
    check(&with_steps(&many), "SK0038");
    check(
        &with_steps("  a: { agent: x, expect: { pattern: '((a{100}){100}){100}' } }\n"),
        "SK0038",
    );
}

#[test]
fn warnings_hide_no_error_and_reject_nothing() {
    let warned: String =
        (0..5_100).map(|step| format!("  s{step}: {{ agent: x, retry: {{}} }}\n")).collect();
    let accepted = read(&with_steps(&warned), "warned").expect("there are warnings only");
    assert_eq!(accepted.warnings().len(), 1_001);
    let cycle = "  a: { agent: x, needs: b }\n  b: { agent: x, needs: a }\n";
    let rejected = read(&with_steps(&(warned + cycle)), "cycle").expect_err("there is a cycle");
    assert_eq!(rejected.diagnostics()[0].code.to_string(), "SK0026");
    assert_eq!(rejected.diagnostics().len(), 1_002);
}

/// Names that are all like each other: the worst for finding the nearest.
fn alike(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 0 { 'a' } else { 'b' }
    };
    (0..58).map(|_| next()).collect()
}

#[test]
fn thousands_of_names_that_are_alike() {
    let names = |from: u64, to: u64| (from..to).map(alike);
    let inputs: String = names(0, 250).map(|name| format!("  {name}: true\n")).collect();
    let uses: String =
        names(1_000, 9_000).map(|name| format!("${{{{ inputs.{name} }}}}")).collect();
    let steps = format!("steps: {{ a: {{ agent: x, with: \"{uses}\" }} }}");
    check(format!("name: n\ninputs:\n{inputs}{steps}").as_bytes(), "SK0031");
    let fields: String = names(0, 900).map(|name| format!("{name}: true, ")).collect();
    let uses: String =
        names(1_000, 9_000).map(|name| format!("${{{{ steps.a.output.{name} }}}}")).collect();
    let schema =
        format!("{{ type: object, additionalProperties: false, properties: {{ {fields} }} }}");
    let steps =
        format!("  a: {{ agent: x, expect: {schema} }}\n  b: {{ agent: x, with: \"{uses}\" }}\n");
    check(&with_steps(&steps), "SK0035");
}
