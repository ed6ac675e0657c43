"""Names stay, addresses change, as those of pods do at each restart."""

from lib.cluster_scene import members, one_cluster, publish, under_load


def test_every_node_comes_back_under_another_address_one_after_another(start_cluster, network):
    cluster = start_cluster(world=network)
    before = one_cluster(cluster)
    with under_load(cluster) as scene:
        for node in cluster:
            with scene.fault("move", node, planned=True):
                assert node.terminate() == 0, node.log()[-3000:]
                network.move(node.name)
                node.begin()
    assert one_cluster(cluster) == before
    assert all(publish(node, "c") == 0 for node in cluster)


def test_all_nodes_come_back_under_other_addresses_at_once(start_cluster, network):
    cluster = start_cluster(world=network)
    before = one_cluster(cluster)
    for node in cluster:
        node.kill()
    for node in cluster:
        network.move(node.name)
    for node in cluster:
        node.begin()
    cluster.wait_settled()
    assert one_cluster(cluster) == before
    assert all(publish(node, "c") == 0 for node in cluster)


def test_two_nodes_that_change_their_addresses_with_each_other_are_told_apart(start_cluster, network):
    cluster = start_cluster(world=network)
    before = members(cluster[0])
    one, other = cluster[1], cluster[2]
    for node in (one, other):
        node.kill()
    network.swap(one.name, other.name)
    for node in (one, other):
        node.begin()
    cluster.wait_settled()
    assert set(members(cluster[0])) == set(before)
    assert all(publish(node, "c") == 0 for node in cluster)
