//! The codes of all problems; each has a page under `workflows/codes`.

use super::Code;

macro_rules! codes {
    ($($name:ident = $number:literal $text:literal $title:literal;)*) => {
        $(
            #[doc = $title]
            pub(crate) const $name: Code = Code($number);
        )*

        /// Number, title and page of each code.
        pub(super) const ALL: &[(Code, &str, &str)] = &[
            $(($name, $title, include_str!(concat!("../../codes/", $text, ".md"))),)*
        ];
    };
}

codes! {
    TOO_LARGE = 1 "SK0001" "the file is too large";
    NOT_TEXT = 2 "SK0002" "the file is not text";
    SYNTAX = 3 "SK0003" "the file is not valid YAML";
    TOO_DEEP = 4 "SK0004" "the file is nested too deep";
    TOO_MUCH_YAML = 5 "SK0005" "YAML that a definition may not use";
    EMPTY = 6 "SK0006" "the file is empty";
    DUPLICATE_KEY = 7 "SK0007" "a key is written twice";
    UNKNOWN_KEY = 8 "SK0008" "a key is unknown";
    MISSING_KEY = 9 "SK0009" "a key is missing";
    WRONG_TYPE = 10 "SK0010" "a value has the wrong type";
    NOT_FINITE = 11 "SK0011" "a number is not finite";
    INVALID_NAME = 12 "SK0012" "a name is not valid";
    UNKNOWN_WORD = 13 "SK0013" "a value is not one of the known words";
    INVALID_DURATION = 14 "SK0014" "a duration is not valid";
    OUT_OF_RANGE = 15 "SK0015" "a number is out of range";
    INVALID_SHARE = 16 "SK0016" "a share is not valid";
    INVALID_TIMESTAMP = 17 "SK0017" "a timestamp is not valid";
    STEP_KIND = 18 "SK0018" "a step is nothing, or several things at once";
    MISPLACED_KEY = 19 "SK0019" "a key makes no sense for this kind of step";
    LONELY_KEY = 20 "SK0020" "a key needs another one";
    DUPLICATE_STEP = 21 "SK0021" "two steps have the same id";
    NO_STEPS = 22 "SK0022" "there are no steps";
    TOO_MANY = 23 "SK0023" "there are too many of something";
    UNKNOWN_NEED = 24 "SK0024" "`needs` names a step that does not exist";
    FOREIGN_NEED = 25 "SK0025" "`needs` names a step of another scope";
    CYCLE = 26 "SK0026" "steps wait for each other";
    EXPRESSION_SYNTAX = 27 "SK0027" "an expression cannot be parsed";
    EXPRESSION_SIZE = 28 "SK0028" "an expression is too big";
    UNKNOWN_VARIABLE = 29 "SK0029" "an expression uses an unknown variable";
    UNKNOWN_FUNCTION = 30 "SK0030" "an expression uses an unknown filter, test or function";
    UNKNOWN_INPUT = 31 "SK0031" "an expression reads an input that does not exist";
    UNKNOWN_STEP = 32 "SK0032" "an expression reads a step that does not exist";
    OUT_OF_SCOPE = 33 "SK0033" "an expression looks inside another group";
    UNKNOWN_PART = 34 "SK0034" "an expression reads something that a step does not have";
    EXCLUDED_FIELD = 35 "SK0035" "an expression reads a field that a schema excludes";
    MISPLACED_VARIABLE = 36 "SK0036" "a variable has no value here";
    TEMPLATE_DELIMITER = 37 "SK0037" "the delimiters of a template are wrong";
    INVALID_SCHEMA = 38 "SK0038" "a JSON Schema is not valid";
    INVALID_DEFAULT = 39 "SK0039" "a default does not match its schema";
    IMPOSSIBLE_JOIN = 40 "SK0040" "`join` can never be met";
    CONTRADICTION = 41 "SK0041" "two values contradict each other";
    DYNAMIC_STEP = 42 "SK0042" "an expression chooses a step while it runs";
    NOT_BOOLEAN = 43 "SK0043" "a condition is never a boolean";
    SELF_WORKFLOW = 44 "SK0044" "a workflow calls itself";
    NO_EFFECT = 51 "SK0051" "something has no effect";
    TOO_SHORT = 52 "SK0052" "a time is shorter than can be told";
}
