//! The filters and tests of the language, with the arguments they take.

/// What a filter or a test may be called with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) named: &'static [&'static str],
}

macro_rules! names {
    ($type:ident {
        $($variant:ident = $($name:literal)|+, $least:literal..=$most:literal, $named:expr;)*
    }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $type {
            $($variant,)*
        }

        impl $type {
            pub(crate) const NAMES: &'static [&'static str] = &[$($($name,)+)*];

            pub(crate) fn find(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub(crate) fn signature(self) -> Signature {
                match self {
                    $(Self::$variant => Signature { least: $least, most: $most, named: &$named },)*
                }
            }
        }
    };
}

names! { Filter {
    Abs = "abs", 0..=0, [];
    Batch = "batch", 1..=1, [];
    Bool = "bool", 0..=0, [];
    Capitalize = "capitalize", 0..=0, [];
    Default = "default" | "d", 1..=2, ["boolean"];
    Dictsort = "dictsort", 0..=0, [];
    First = "first", 0..=0, [];
    Float = "float", 0..=0, [];
    Int = "int", 0..=0, [];
    Items = "items", 0..=0, [];
    Join = "join", 0..=1, ["attribute"];
    Last = "last", 0..=0, [];
    Length = "length" | "count", 0..=0, [];
    Lines = "lines", 0..=0, [];
    List = "list", 0..=0, [];
    Lower = "lower", 0..=0, [];
    Max = "max", 0..=0, ["attribute"];
    Min = "min", 0..=0, ["attribute"];
    Replace = "replace", 2..=2, [];
    Reverse = "reverse", 0..=0, [];
    Round = "round", 0..=1, ["precision"];
    Sort = "sort", 0..=0, ["attribute", "reverse"];
    Split = "split", 0..=2, [];
    String = "string", 0..=0, [];
    Sum = "sum", 0..=0, ["attribute"];
    Title = "title", 0..=0, [];
    Tojson = "tojson", 0..=0, [];
    Trim = "trim", 0..=1, [];
    Unique = "unique", 0..=0, ["attribute"];
    Upper = "upper", 0..=0, [];
} }

impl Filter {
    /// Tells whether the value can never be a boolean, whatever the data is.
    pub(super) fn never_boolean(self) -> bool {
        !matches!(
            self,
            Self::Bool | Self::Default | Self::First | Self::Last | Self::Max | Self::Min
        )
    }
}

names! { Test {
    Boolean = "boolean", 0..=0, [];
    Defined = "defined", 0..=0, [];
    Divisibleby = "divisibleby", 1..=1, [];
    Endingwith = "endingwith", 1..=1, [];
    Eq = "eq" | "equalto" | "==", 1..=1, [];
    Even = "even", 0..=0, [];
    False = "false", 0..=0, [];
    Float = "float", 0..=0, [];
    Ge = "ge" | ">=", 1..=1, [];
    Gt = "gt" | "greaterthan" | ">", 1..=1, [];
    In = "in", 1..=1, [];
    Integer = "integer" | "int", 0..=0, [];
    Iterable = "iterable", 0..=0, [];
    Le = "le" | "<=", 1..=1, [];
    Lower = "lower", 0..=0, [];
    Lt = "lt" | "lessthan" | "<", 1..=1, [];
    Mapping = "mapping", 0..=0, [];
    Ne = "ne" | "!=", 1..=1, [];
    None = "none", 0..=0, [];
    Number = "number", 0..=0, [];
    Odd = "odd", 0..=0, [];
    Sequence = "sequence", 0..=0, [];
    Startingwith = "startingwith", 1..=1, [];
    String = "string", 0..=0, [];
    True = "true", 0..=0, [];
    Undefined = "undefined", 0..=0, [];
    Upper = "upper", 0..=0, [];
} }

/// Filters that work on each element of a list and take a test or a filter by name.
pub(crate) const EACH: &[&str] = &["map", "reject", "rejectattr", "select", "selectattr"];

/// Functions.
pub(crate) const FUNCTIONS: &[&str] = &["always", "failure", "range", "success"];
