use expect_test::expect;

use super::*;

fn workflow() -> Workflow {
    let file = br#"
name: shapes
steps:
  start: { agent: x }
  group:
    needs: [start]
    steps:
      end: { wait: 90s }
      sub: { workflow: other@2, needs: [end] }
  gate: { wait_for: { signal: go }, needs: [group] }
  last: { agent: y, needs: [gate, start], join: any, if: always(), for_each: [1] }
"#;
    crate::read(file, "t").unwrap()
}

#[test]
fn as_text_tree() {
    expect![[r#"
        shapes
        ├─ start (agent x)
        ├─ group (group)  ← start
        │  ├─ end (wait 1m30s)
        │  └─ sub (workflow other@2)  ← end
        ├─ gate (signal go)  ← group
        └─ last (agent y) ×n ? join any  ← start, gate
    "#]]
    .assert_eq(&tree(&workflow()));
}

#[test]
fn as_mermaid() {
    expect![[r#"
        flowchart TD
          s0["start (agent x)"]
          subgraph s1["group (group)"]
            s2(["end (wait 1m30s)"])
            s3[["sub (workflow other@2)"]]
          end
          s4{{"gate (signal go)"}}
          s5["last (agent y) ×n ? join any"]
          s0 --> s1
          s2 --> s3
          s1 --> s4
          s0 --> s5
          s4 --> s5
    "#]]
    .assert_eq(&mermaid(&workflow()));
}

#[test]
fn as_dot() {
    expect![[r#"
        digraph "shapes" {
          compound=true; rankdir=TB; node [shape=box, style=rounded];
          "start" [label="start (agent x)"];
          subgraph "cluster_group" {
            label="group (group)";
            "end" [label="end (wait 1m30s)"];
            "sub" [label="sub (workflow other@2)"];
          }
          "gate" [label="gate (signal go)"];
          "last" [label="last (agent y) ×n ? join any"];
          "start" -> "end" [lhead="cluster_group"];
          "end" -> "sub";
          "end" -> "gate" [ltail="cluster_group"];
          "start" -> "last";
          "gate" -> "last";
        }
    "#]]
    .assert_eq(&dot(&workflow()));
}
