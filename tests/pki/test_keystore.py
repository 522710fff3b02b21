from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.pki.keys import Algorithm, spki
from teleport_tw.pki.keystore import SoftwareKeystore


class KeystoreTests(SynchronousTestCase):
    def test_read_once(self) -> None:
        store = SoftwareKeystore()
        for algorithm in Algorithm:
            reference = store.generate(algorithm)
            self.assertIs(store.signer(reference), store.signer(reference))

    def test_what_is_kept_is_what_the_reference_says(self) -> None:
        store = SoftwareKeystore()
        for algorithm in Algorithm:
            reference = store.generate(algorithm)
            read = SoftwareKeystore().signer(Secret(reference.reveal()))
            self.assertEqual(spki(read.public), spki(store.signer(reference).public))

    def test_no_key(self) -> None:
        for reference in (None, Secret(""), Secret("-----BEGIN PRIVATE KEY-----")):
            for _ in range(2):
                self.assertRaises(TeleportError, SoftwareKeystore().signer, reference)

    def test_the_oldest_goes(self) -> None:
        store = SoftwareKeystore()
        first = store.generate(Algorithm.ED25519)
        signer = store.signer(first)
        for _ in range(32):
            store.generate(Algorithm.ED25519)
        again = store.signer(first)
        self.assertIsNot(again, signer)
        self.assertEqual(spki(again.public), spki(signer.public))
