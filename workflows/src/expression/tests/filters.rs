use expect_test::expect;

use super::check;

#[test]
fn filters_of_lists() {
    check(
        &[
            "inputs.text | upper",
            "inputs.text | length",
            "inputs.list | sort | join('-')",
            "inputs.list | max",
            "inputs.list | sum",
            "inputs.people | map(attribute='name') | list",
            "inputs.people | sort(attribute='age') | map(attribute='name') | join(',')",
            "inputs.people | selectattr('age', 'gt', 2) | length",
            "inputs.list | select('odd') | list",
            "inputs.list | reject('odd') | first",
            "inputs.list | map('string') | list",
            "steps.many.outputs | map(attribute='score') | min >= 0.8",
            "[1, 1, 2] | unique",
            "inputs.list | batch(2)",
        ],
        expect![[r#"
            inputs.text | upper  =>  "HELLO WORLD"
            inputs.text | length  =>  11
            inputs.list | sort | join('-')  =>  "1-2-3"
            inputs.list | max  =>  3
            inputs.list | sum  =>  6
            inputs.people | map(attribute='name') | list  =>  ["b","a"]
            inputs.people | sort(attribute='age') | map(attribute='name') | join(',')  =>  "a,b"
            inputs.people | selectattr('age', 'gt', 2) | length  =>  1
            inputs.list | select('odd') | list  =>  [3,1]
            inputs.list | reject('odd') | first  =>  2
            inputs.list | map('string') | list  =>  ["3","1","2"]
            steps.many.outputs | map(attribute='score') | min >= 0.8  =>  false
            [1, 1, 2] | unique  =>  [1,2]
            inputs.list | batch(2)  =>  [[3,1],[2]]
        "#]],
    );
}

#[test]
fn filters_of_texts_and_numbers() {
    check(
        &[
            "' a ' | trim",
            "'a,b,c' | split(',')",
            "'a-b' | replace('-', '+')",
            "'42' | int",
            "'x' | int",
            "2.567 | round(1)",
            "-3 | abs",
            "{'b': 1, 'a': 2} | dictsort",
            "inputs.people[0] | tojson",
            "inputs.text[0:5]",
            "inputs.list[1:]",
            "range(1, 7, 2)",
            "'hello world' | title",
            "inputs.list | reverse",
            "inputs.n | upper",
        ],
        expect![[r#"
            ' a ' | trim  =>  "a"
            'a,b,c' | split(',')  =>  ["a","b","c"]
            'a-b' | replace('-', '+')  =>  "a+b"
            '42' | int  =>  42
            'x' | int  =>  error: `x` is not a number
            2.567 | round(1)  =>  2.6
            -3 | abs  =>  3
            {'b': 1, 'a': 2} | dictsort  =>  [["a",2],["b",1]]
            inputs.people[0] | tojson  =>  "{\"name\":\"b\",\"age\":3}"
            inputs.text[0:5]  =>  "Hello"
            inputs.list[1:]  =>  [1,2]
            range(1, 7, 2)  =>  [1,3,5]
            'hello world' | title  =>  "Hello World"
            inputs.list | reverse  =>  [2,1,3]
            inputs.n | upper  =>  error: a string is needed here, but this is a number
        "#]],
    );
}

#[test]
fn what_makes_much_out_of_little_is_refused() {
    check(
        &[
            "inputs.huge | replace('x', inputs.huge) | length",
            "range(100000000) | length",
            "range(100000) | select('in', range(100000)) | list | length",
            "inputs.huge | split('x') | join(inputs.huge) | length",
            "range(5000) | map('replace', 'x', inputs.huge) | list",
        ],
        expect![[r#"
            inputs.huge | replace('x', inputs.huge) | length  =>  error: it is too expensive: it makes or looks at too much data
            range(100000000) | length  =>  error: it is too expensive: it makes or looks at too much data
            range(100000) | select('in', range(100000)) | list | length  =>  error: it is too expensive: it makes or looks at too much data
            inputs.huge | split('x') | join(inputs.huge) | length  =>  error: it is too expensive: it makes or looks at too much data
            range(5000) | map('replace', 'x', inputs.huge) | list  =>  error: a string is needed here, but this is a number
        "#]],
    );
}
