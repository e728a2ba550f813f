use async_nats::Subscriber;
use futures::StreamExt as _;

use super::*;
use crate::server::{Options, ThrowawayServer};

struct World {
    _server: ThrowawayServer,
    client: Client,
    groups: Groups,
    listener: Subscriber,
}

impl World {
    async fn new() -> Self {
        let server = ThrowawayServer::start(Options::default()).await.unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let mux = Arc::new(Mux::open(client.clone()).await.unwrap());
        let groups = Groups::new(client.clone(), mux);
        let listener = client.subscribe("s").await.unwrap();
        client.flush().await.unwrap();
        Self { _server: server, client, groups, listener }
    }

    async fn heard(&mut self) -> (Subject, Bytes) {
        let message = self.listener.next().await.unwrap();
        (message.reply.unwrap(), message.payload)
    }
}

fn text(shared: Shared) -> String {
    match shared {
        Shared::Answer(answer) => String::from_utf8_lossy(&answer).into_owned(),
        other @ (Shared::Nobody | Shared::Alone | Shared::Unsent(_)) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_asked_while_something_is_under_way_shares_a_message() {
    let mut world = World::new().await;
    let groups = &world.groups;
    let begin = |request: &'static str| groups.begin("s", &Bytes::from_static(request.as_bytes()));
    let (first, alone) = begin("0");
    assert!(alone.is_none(), "the only one shares nothing");
    let asked = ["1", r#"{"a":[2]}"#, "3"].map(begin);
    let [a, b, c] = asked.map(|(_, answer)| answer.expect("others are under way"));
    let large = Bytes::from(vec![b'1'; MOST_BYTES]);
    assert!(groups.begin("s", &large).1.is_none(), "what is large goes alone");
    assert!(groups.begin("t", &large).1.is_none(), "there is nothing under way");
    drop(first);
    let (reply, message) = world.heard().await;
    assert_eq!(message, r#"[1,{"a":[2]},3]"#);
    let read: Vec<Bytes> = requests(&message).unwrap();
    assert_eq!(read, ["1", r#"{"a":[2]}"#, "3"]);
    // Each answer comes when it is there.
    let answering = Answering::new(world.client.clone(), 16);
    let asker = Asker::new(reply);
    answering.answer(&asker, 2, &"c");
    assert_eq!(text(c.await.unwrap()), r#""c""#);
    answering.answer(&asker, 0, &"a");
    answering.answer(&asker, 1, &"b");
    answering.answer(&asker, 1, &"again");
    answering.answer(&asker, 9, &"nobody");
    assert_eq!(text(a.await.unwrap()), r#""a""#);
    assert_eq!(text(b.await.unwrap()), r#""b""#);
}

#[tokio::test]
async fn who_knows_of_no_lists_is_asked_one_by_one() {
    let mut world = World::new().await;
    let request = Bytes::from_static(b"1");
    let (first, _) = world.groups.begin("s", &request);
    let asked = [(); 2].map(|()| world.groups.begin("s", &request).1.unwrap());
    let (reply, message) =
        world.listener.next().await.map(|m| (m.reply.unwrap(), m.payload)).unwrap();
    assert_eq!(message, "[1,1]");
    world.client.publish(reply, "{}".into()).await.unwrap();
    for answer in asked {
        assert_eq!(text(answer.await.unwrap()), "Alone");
    }
    first.alone_from_here();
    assert!(world.groups.begin("s", &request).1.is_none());
}

#[tokio::test]
async fn nobody_there_is_told_to_all() {
    let world = World::new().await;
    let request = Bytes::from_static(b"1");
    let (_first, _) = world.groups.begin("nobody", &request);
    let asked = [(); 2].map(|()| world.groups.begin("nobody", &request).1.unwrap());
    for answer in asked {
        assert_eq!(text(answer.await.unwrap()), "Nobody");
    }
}

#[test]
fn what_shares_a_message_is_bounded() {
    let waiter = |size: usize| {
        let (answer, _) = oneshot::channel();
        Waiter { request: Bytes::from(vec![b'1'; size]), answer }
    };
    let small: Vec<Waiter> = (0..MOST + 1).map(|_| waiter(1)).collect();
    assert_eq!(fitting(&small, MOST_BYTES), MOST);
    let large: Vec<Waiter> = (0..9).map(|_| waiter(MOST_BYTES / 8)).collect();
    assert_eq!(fitting(&large, MOST_BYTES), 7);
    assert_eq!(fitting(&large, 1), 1);
    let (message, _) = together(large.into_iter().take(7).collect());
    assert!(message.len() <= MOST_BYTES);
    let many = format!("[{}1]", "1,".repeat(MOST));
    assert!(requests(&Bytes::from(many)).is_err());
    let long = format!("[{}1]", " ".repeat(MOST_BYTES));
    assert!(requests(&Bytes::from(long)).is_err());
}
