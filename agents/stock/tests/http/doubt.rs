//! Requests of which it may be unclear what became of them.

use serde_json::json;
use skep_agents::http::HttpConfig;

use crate::server::Server;
use crate::{send, send_to};

/// Who redirects to something else may have done what it was asked for before; who asks for the
/// same request elsewhere did not.
#[tokio::test]
async fn a_redirect_may_be_the_answer_of_a_server_that_has_done_it() {
    let server = Server::start("127.0.0.1").await;
    let failed = async |method: &str, path: &str| {
        send_to(server.port, json!({ "method": method, "url": path })).await.unwrap_err()
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = format!("http://{nobody}/");
    for (place, code) in [
        (refused.as_str(), "connection_failed"),
        ("/missing", "status_404"),
        ("http://10.0.0.1/", "address_refused"),
        ("ftp://127.0.0.1/", "invalid_url"),
        ("/307?/missing", "status_404"),
    ] {
        for redirect in ["/to?", "/303?", "/307?/303?", "/303?/307?"] {
            let path = format!("{redirect}{place}");
            let failure = failed("POST", &path).await;
            assert_eq!((failure.code(), failure.is_unclear()), (code, true), "{path}");
            let failure = failed("GET", &path).await;
            assert_eq!((failure.code(), failure.is_unclear()), (code, false), "{path}");
        }
        for redirect in ["/307?", "/308?", "/308?/307?"] {
            let path = format!("{redirect}{place}");
            let failure = failed("POST", &path).await;
            assert_eq!((failure.code(), failure.is_unclear()), (code, false), "{path}");
        }
    }
    let failure = failed("POST", "/itself").await;
    assert_eq!((failure.code(), failure.is_unclear()), ("status_404", true));
}

#[tokio::test]
async fn a_request_to_a_name_that_leads_inside_was_not_made() {
    let server = Server::start("127.0.0.1").await;
    let url = format!("http://localhost:{}/echo", server.port);
    let task = json!({ "method": "POST", "url": url });
    let failure = send(HttpConfig::default(), task).await.unwrap_err();
    assert_eq!((failure.code(), failure.is_unclear()), ("address_refused", false));
}
