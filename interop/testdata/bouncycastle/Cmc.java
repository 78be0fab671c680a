// The syntax of CMC and CRMF as Bouncy Castle's classes have it. Each line of the input is
// "read KIND HEX" and is answered by what the class's accessors say, a tab, and what the
// class writes; "make" is answered by one line for each thing made here: its kind, what
// the accessors say, and the encoding. What Bouncy Castle has no class for is read
// as plain ASN.1 in the RFC's syntax; such kinds are marked so below.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.text.SimpleDateFormat;
import java.util.ArrayList;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TimeZone;
import java.util.function.Function;
import org.bouncycastle.asn1.*;
import org.bouncycastle.asn1.cmc.*;
import org.bouncycastle.asn1.cmc.CertificationRequest;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.cms.IssuerAndSerialNumber;
import org.bouncycastle.asn1.crmf.*;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.*;
import org.bouncycastle.util.encoders.Hex;

public class Cmc {
    record Kind(Function<ASN1Primitive, ASN1Encodable> parse, Function<ASN1Encodable, String> show) {}

    static final Map<String, Kind> KINDS = new LinkedHashMap<>();
    static final List<String[]> MADE = new ArrayList<>();

    @SuppressWarnings("unchecked")
    static <T extends ASN1Encodable> void kind(String name, Function<Object, T> parse, Function<T, String> show) {
        KINDS.put(name, new Kind(p -> parse.apply(p), e -> show.apply((T) e)));
    }

    public static void main(String[] args) throws Exception {
        kinds();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("make")) {
                make();
                for (String[] m : MADE) {
                    System.out.println(String.join("\t", m));
                }
                continue;
            }
            try {
                Kind k = KINDS.get(words[1]);
                ASN1Encodable e = k.parse().apply(ASN1Primitive.fromByteArray(Hex.decode(words[2])));
                System.out.println(k.show().apply(e) + "\t" + hex(e));
            } catch (Exception e) {
                System.out.println("refused: " + e + "\t");
            }
        }
    }

    static String hex(ASN1Encodable e) {
        try {
            return e == null ? "-" : Hex.toHexString(e.toASN1Primitive().getEncoded(ASN1Encoding.DER));
        } catch (java.io.IOException x) {
            throw new IllegalStateException(x);
        }
    }

    static String hex(byte[] b) { return Hex.toHexString(b); }

    static String all(Object... parts) {
        List<String> list = new ArrayList<>();
        for (Object p : parts) {
            list.add(p == null ? "-" : p.toString());
        }
        return String.join("|", list);
    }

    static String id(BodyPartID b) { return Long.toString(b.getID()); }

    static String ids(BodyPartID[] list) {
        List<String> out = new ArrayList<>();
        for (BodyPartID b : list) {
            out.add(id(b));
        }
        return String.join(",", out);
    }

    static String reference(BodyPartReference r) {
        return r.isBodyPartID() ? id(r.getBodyPartID()) : "[" + ids(r.getBodyPartPath().getBodyPartIDs()) + "]";
    }

    static String hashes(byte[][] list) {
        List<String> out = new ArrayList<>();
        for (byte[] b : list) {
            out.add(hex(b));
        }
        return String.join(",", out);
    }

    static String time(ASN1GeneralizedTime t) { return t == null ? "-" : t.getTimeString(); }

    static String octets(ASN1Encodable e) { return e == null ? "-" : hex(ASN1OctetString.getInstance(e).getOctets()); }

    // Without accessors: what it is, and its encoding.
    static String other(ASN1Encodable e) { return hex(e); }

    static void kinds() {
        for (String plain : new String[] {"identityProof", "dataReturn", "senderNonce", "recipientNonce", "regInfo", "responseInfo", "queryPending", "popLinkRandom", "popLinkWitness"}) {
            kind(plain, ASN1OctetString::getInstance, v -> hex(v.getOctets())); // no class: OCTET STRING
        }
        kind("identification", ASN1UTF8String::getInstance, v -> v.getString()); // no class: UTF8String
        kind("transactionId", ASN1Integer::getInstance, v -> v.getValue().toString()); // no class: INTEGER
        kind("identityProofV2", IdentityProofV2::getInstance, v -> all(hex(v.getProofAlgID()), hex(v.getMacAlgId()), hex(v.getWitness())));
        kind("popLinkWitnessV2", PopLinkWitnessV2::getInstance, v -> all(hex(v.getKeyGenAlgorithm()), hex(v.getMacAlgorithm()), hex(v.getWitness())));
        kind("confirmCertAcceptance", IssuerAndSerialNumber::getInstance, v -> all(hex(v.getName()), v.getSerialNumber().getValue()));
        kind("revokeRequest", RevokeRequest::getInstance, v -> all(hex(v.getName()), v.getSerialNumber(), v.getReason().getValue(), time(v.getInvalidityDate()),
            octets(v.getPassphrase()), v.getCommentUTF8() == null ? "-" : "=" + v.getCommentUTF8().getString()));
        kind("getCert", GetCert::getInstance, v -> all(hex(v.getIssuerName()), v.getSerialNumber()));
        kind("getCRL", GetCRL::getInstance, v -> all(hex(v.getIssuerName()), hex(v.getcRLName()), time(v.getTime()), hex(v.getReasons())));
        kind("trustedAnchors", PublishTrustAnchors::getInstance, v -> all(v.getSeqNumber(), hex(v.getHashAlgorithm()), hashes(v.getAnchorHashes())));
        kind("authData", BodyPartID::getInstance, v -> id(v));
        kind("batchRequests", BodyPartList::getInstance, v -> ids(v.getBodyPartIDs()));
        kind("batchResponses", BodyPartList::getInstance, v -> ids(v.getBodyPartIDs()));
        kind("raIdentityWitness", BodyPartPath::getInstance, v -> ids(v.getBodyPartIDs()));
        kind("responseBody", BodyPartPath::getInstance, v -> ids(v.getBodyPartIDs()));
        kind("lraPOPWitness", LraPopWitness::getInstance, v -> all(id(v.getPkiDataBodyid()), ids(v.getBodyIds())));
        kind("modCertTemplate", ModCertTemplate::getInstance, v -> all(ids(v.getPkiDataReference().getBodyPartIDs()), ids(v.getCertReferences().getBodyPartIDs()),
            v.isReplacingFields(), template(v.getCertTemplate())));
        kind("addExtensions", ASN1Sequence::getInstance, Cmc::addExtensions); // no class: SEQUENCE
        kind("controlProcessed", ControlsProcessed::getInstance, v -> {
            List<String> out = new ArrayList<>();
            for (BodyPartReference r : v.getBodyList()) {
                out.add(reference(r));
            }
            return String.join(",", out);
        });
        kind("publishCert", CMCPublicationInfo::getInstance, Cmc::publication);
        kind("statusInfo", CMCStatusInfo::getInstance, v -> all(hex(v.getCMCStatus()), ids(v.getBodyList()),
            v.getStatusStringUTF8() == null ? "-" : "=" + v.getStatusStringUTF8().getString(), v.hasOtherInfo() ? (v.getOtherInfo().isFailInfo() ? "fail" : "pend") + hex(v.getOtherInfo()) : "-"));
        kind("statusInfoV2", CMCStatusInfoV2::getInstance, v -> all(hex(v.getcMCStatus()), ids(v.getBodyList()),
            v.getStatusStringUTF8() == null ? "-" : "=" + v.getStatusStringUTF8().getString(), otherInfo(v)));
        kind("encryptedPOP", EncryptedPOP::getInstance, v -> all(hex(v.getRequest()), hex(v.getCms()), hex(v.getThePOPAlgID()), hex(v.getWitnessAlgID()), hex(v.getWitness())));
        kind("decryptedPOP", DecryptedPOP::getInstance, v -> all(id(v.getBodyPartID()), hex(v.getThePOPAlgID()), hex(v.getThePOP())));
        kind("changeSubjectName", ASN1Sequence::getInstance, Cmc::change); // no class: SEQUENCE
        kind("unsignedData", CMCUnsignedData::getInstance, v -> all(ids(v.getBodyPartPath().getBodyPartIDs()), v.getIdentifier(), hex(v.getContent())));
        kind("reference", BodyPartReference::getInstance, Cmc::reference);
        kind("CertReqMsg", CertReqMsg::getInstance, Cmc::crmf);
        kind("TaggedRequest", TaggedRequest::getInstance, Cmc::request);
        kind("PKIData", PKIData::getInstance, v -> all(controls(v.getControlSequence()), list(v.getReqSequence(), Cmc::request), nested(v.getCmsSequence()), others(v.getOtherMsgSequence())));
        kind("PKIResponse", PKIResponse::getInstance, v -> all(
            list(v.getControlSequence().toArray(), e -> control(TaggedAttribute.getInstance(e))),
            list(v.getCmsSequence().toArray(), e -> nested(TaggedContentInfo.getInstance(e))),
            list(v.getOtherMsgSequence().toArray(), e -> other(OtherMsg.getInstance(e)))));
    }

    static <T> String list(T[] all, Function<T, String> show) {
        List<String> out = new ArrayList<>();
        for (T one : all) {
            out.add(show.apply(one));
        }
        return "{" + String.join(" ", out) + "}";
    }

    static String controls(TaggedAttribute[] all) { return list(all, Cmc::control); }

    static String control(TaggedAttribute a) { return id(a.getBodyPartID()) + ":" + a.getAttrType() + ":" + hex(a.getAttrValues()); }

    static String nested(TaggedContentInfo[] all) { return list(all, Cmc::nested); }

    static String nested(TaggedContentInfo c) { return id(c.getBodyPartID()) + ":" + hex(c.getContentInfo()); }

    static String others(OtherMsg[] all) { return list(all, Cmc::other); }

    static String other(OtherMsg m) { return id(m.getBodyPartID()) + ":" + m.getOtherMsgType() + ":" + hex(m.getOtherMsgValue()); }

    static String request(TaggedRequest r) {
        switch (r.getTagNo()) {
            case TaggedRequest.TCR: { // no accessors: a SEQUENCE of id and request
                ASN1Sequence s = ASN1Sequence.getInstance(r.getValue().toASN1Primitive());
                CertificationRequest q = CertificationRequest.getInstance(s.getObjectAt(1));
                return "tcr:" + id(BodyPartID.getInstance(s.getObjectAt(0))) + ":" + hex(q.getSubject()) + ":" + hex(q);
            }
            case TaggedRequest.CRM:
                return "crm:" + crmf(CertReqMsg.getInstance(r.getValue()));
            default: {
                ASN1Sequence s = ASN1Sequence.getInstance(r.getValue());
                return "orm:" + id(BodyPartID.getInstance(s.getObjectAt(0))) + ":" + s.getObjectAt(1) + ":" + hex(s.getObjectAt(2));
            }
        }
    }

    static String crmf(CertReqMsg m) {
        CertRequest q = m.getCertReq();
        return all(q.getCertReqId().getValue(), template(q.getCertTemplate()),
            q.getControls() == null ? "-" : pairs(q.getControls().toAttributeTypeAndValueArray()), m.getPopo() == null ? "-" : possession(m.getPopo()),
            m.getRegInfo() == null ? "-" : pairs(m.getRegInfo()));
    }

    static String pairs(AttributeTypeAndValue[] all) { return list(all, a -> a.getType() + "=" + hex(a.getValue())); }

    static String possession(ProofOfPossession p) {
        switch (p.getType()) {
            case ProofOfPossession.TYPE_RA_VERIFIED:
                return "raVerified";
            case ProofOfPossession.TYPE_SIGNING_KEY: {
                POPOSigningKey k = POPOSigningKey.getInstance(p.getObject());
                POPOSigningKeyInput i = k.getPoposkInput();
                String input = i == null ? "-" : i.getSender() != null ? "sender " + hex(i.getSender()) + " " + hex(i.getPublicKey())
                    : "mac " + mac(i.getPublicKeyMAC()) + " " + hex(i.getPublicKey());
                return "signature " + input + " " + hex(k.getAlgorithmIdentifier()) + " " + hex(k.getSignature().getOctets());
            }
            default: {
                POPOPrivKey k = POPOPrivKey.getInstance(p.getObject());
                String name = p.getType() == ProofOfPossession.TYPE_KEY_ENCIPHERMENT ? "keyEncipherment " : "keyAgreement ";
                return name + k.getType() + " " + (k.getType() == POPOPrivKey.agreeMAC ? mac(PKMACValue.getInstance(k.getValue())) : hex(k.getValue()));
            }
        }
    }

    static String mac(PKMACValue m) { return hex(m.getAlgId()) + " " + hex(m.getValue().getOctets()); }

    static String template(CertTemplate t) {
        OptionalValidity v = t.getValidity();
        boolean versioned = hex(t).contains("8001"); // getVersion fails on a template without one
        return list(new String[] {
            versioned ? Integer.toString(t.getVersion()) : "-", t.getSerialNumber() == null ? "-" : t.getSerialNumber().getValue().toString(),
            hex(t.getSigningAlg()), hex(t.getIssuer()),
            v == null ? "-" : utc(v.getNotBefore()) + "/" + utc(v.getNotAfter()), hex(t.getSubject()), hex(t.getPublicKey()),
            hex(t.getIssuerUID()), hex(t.getSubjectUID()), hex(t.getExtensions())}, s -> s);
    }

    static String utc(Time t) {
        if (t == null) {
            return "-";
        }
        SimpleDateFormat f = new SimpleDateFormat("yyyyMMddHHmmss'Z'");
        f.setTimeZone(TimeZone.getTimeZone("UTC"));
        return f.format(t.getDate());
    }

    static String addExtensions(ASN1Sequence s) {
        return all(id(BodyPartID.getInstance(s.getObjectAt(0))), list(ASN1Sequence.getInstance(s.getObjectAt(1)).toArray(), e -> id(BodyPartID.getInstance(e))),
            hex(Extensions.getInstance(s.getObjectAt(2))));
    }

    static String change(ASN1Sequence s) {
        return list(s.toArray(), e -> {
            ASN1Sequence in = ASN1Sequence.getInstance(e);
            boolean names = in.size() > 0 && in.getObjectAt(0) instanceof ASN1TaggedObject;
            return names ? "alt " + hex(GeneralNames.getInstance(e)) : "subject " + hex(X500Name.getInstance(e));
        });
    }

    static String publication(CMCPublicationInfo v) {
        PKIPublicationInfo p = v.getPubInfo();
        return all(hex(v.getHashAlg()), hashes(v.getCertHashes()), p.getAction().getValue(),
            p.getPubInfos() == null ? "-" : list(p.getPubInfos(), i -> i.getPubMethod().getValue() + ":" + hex(i.getPubLocation())));
    }

    static String otherInfo(CMCStatusInfoV2 v) {
        if (!v.hasOtherInfo()) {
            return "-";
        }
        OtherStatusInfo o = v.getOtherStatusInfo();
        return (o.isFailInfo() ? "fail" : o.isPendingInfo() ? "pend" : "extended") + hex(o);
    }

    static void made(String kind, ASN1Encodable e) {
        MADE.add(new String[] {kind, KINDS.get(kind).show().apply(KINDS.get(kind).parse().apply(e.toASN1Primitive())), hex(e)});
    }

    static BodyPartID part(long n) { return new BodyPartID(n); }

    static BodyPartID[] parts(long... all) {
        BodyPartID[] out = new BodyPartID[all.length];
        for (int i = 0; i < all.length; i++) {
            out[i] = part(all[i]);
        }
        return out;
    }

    static void make() throws Exception {
        AlgorithmIdentifier sha256 = new AlgorithmIdentifier(org.bouncycastle.asn1.nist.NISTObjectIdentifiers.id_sha256);
        AlgorithmIdentifier hmac = new AlgorithmIdentifier(org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers.id_hmacWithSHA256, DERNull.INSTANCE);
        X500Name name = new X500Name("CN=Gerät 7,O=Works");
        GeneralName dns = new GeneralName(GeneralName.dNSName, "ca.example"), directory = new GeneralName(name);
        ASN1GeneralizedTime time = new ASN1GeneralizedTime("20261122100000Z");
        byte[] some = {1, 2, 3};
        DEROctetString octets = new DEROctetString(some);
        for (String plain : new String[] {"identityProof", "dataReturn", "senderNonce", "recipientNonce", "regInfo", "responseInfo", "queryPending", "popLinkRandom", "popLinkWitness"}) {
            made(plain, octets);
        }
        made("identification", new DERUTF8String("Gerät 7"));
        made("transactionId", new ASN1Integer(new BigInteger("-123456789012345678901234567890")));
        made("identityProofV2", new IdentityProofV2(sha256, hmac, some));
        made("popLinkWitnessV2", new PopLinkWitnessV2(sha256, hmac, some));
        made("confirmCertAcceptance", new IssuerAndSerialNumber(name, BigInteger.valueOf(128)));
        made("revokeRequest", new RevokeRequest(name, new ASN1Integer(255), CRLReason.lookup(CRLReason.keyCompromise), time, octets, new DERUTF8String("lost")));
        made("revokeRequest", new RevokeRequest(name, new ASN1Integer(1), CRLReason.lookup(CRLReason.unspecified), null, null, null));
        made("revokeRequest", new RevokeRequest(name, new ASN1Integer(1), CRLReason.lookup(CRLReason.unspecified), null, octets, null));
        made("getCert", new GetCert(dns, BigInteger.TEN));
        made("getCert", new GetCert(directory, BigInteger.TEN));
        made("getCRL", new GetCRL(name, null, null, null));
        made("getCRL", new GetCRL(name, dns, time, new ReasonFlags(ReasonFlags.keyCompromise)));
        made("trustedAnchors", new PublishTrustAnchors(BigInteger.valueOf(300), sha256, new byte[][] {some, some}));
        made("authData", part(4294967295L));
        made("batchRequests", new BodyPartList(parts(1, 200)));
        made("batchResponses", new BodyPartList(parts(7)));
        made("raIdentityWitness", new BodyPartPath(parts(1, 2, 3)));
        made("responseBody", new BodyPartPath(parts(9)));
        made("lraPOPWitness", new LraPopWitness(part(0), new DERSequence(parts(1, 2))));
        CertTemplate template = new CertTemplateBuilder().setVersion(2).setIssuer(name).setSubject(name)
            .setValidity(new OptionalValidity(new Time(new Date(1700000000000L)), new Time(new Date(253402300799000L)))).setPublicKey(key())
            .setExtensions(new Extensions(new Extension[] {
                new Extension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyAgreement).getEncoded()),
                new Extension(Extension.subjectAlternativeName, false, new GeneralNames(dns).getEncoded())}))
            .setSerialNumber(new ASN1Integer(5)).setSigningAlg(sha256).setIssuerUID(new DERBitString(some)).setSubjectUID(new DERBitString(some, 0)).build();
        CertTemplate small = new CertTemplateBuilder().setSubject(name).setPublicKey(key()).build();
        made("modCertTemplate", new ModCertTemplate(new BodyPartPath(parts(1, 2)), new BodyPartList(parts(3)), true, template));
        made("modCertTemplate", new ModCertTemplate(new BodyPartPath(parts(1)), new BodyPartList(parts(3, 4)), false, small));
        made("addExtensions", new DERSequence(new ASN1Encodable[] {part(0), new DERSequence(parts(3)), template.getExtensions()}));
        BodyPartReference plain = new BodyPartReference(part(5)), path = new BodyPartReference(new BodyPartPath(parts(5, 6)));
        made("reference", plain);
        made("reference", path);
        made("controlProcessed", new ControlsProcessed(new BodyPartReference[] {plain, path}));
        made("publishCert", new CMCPublicationInfo(sha256, new byte[][] {some}, new PKIPublicationInfo(new SinglePubInfo(SinglePubInfo.web, dns))));
        made("publishCert", new CMCPublicationInfo(sha256, new byte[][] {some}, new PKIPublicationInfo(PKIPublicationInfo.dontPublish)));
        made("statusInfo", new CMCStatusInfoBuilder(CMCStatus.failed, parts(1, 2)).setStatusString("no").setOtherInfo(CMCFailInfo.popFailed).build());
        made("statusInfo", new CMCStatusInfoBuilder(CMCStatus.pending, part(1)).setOtherInfo(new PendInfo(some, time)).build());
        made("statusInfo", new CMCStatusInfoBuilder(CMCStatus.success, part(1)).build());
        made("statusInfoV2", new CMCStatusInfoV2Builder(CMCStatus.failed, parts(1, 2)).setStatusString("nein, ö").setOtherInfo(CMCFailInfo.authDataFail).build());
        made("statusInfoV2", new CMCStatusInfoV2Builder(CMCStatus.partial, part(1)).setOtherInfo(new PendInfo(some, time)).build());
        made("statusInfoV2", new CMCStatusInfoV2Builder(CMCStatus.failed, part(1)).setOtherInfo(new ExtendedFailInfo(new ASN1ObjectIdentifier("1.3.6.1.4.1.55555.1"), octets)).build());
        made("statusInfoV2", new CMCStatusInfoV2Builder(CMCStatus.confirmRequired, part(1)).build());
        messages(sha256, hmac, template, small);
    }

    static SubjectPublicKeyInfo key() throws Exception {
        byte[] raw = new byte[32];
        return new SubjectPublicKeyInfo(new AlgorithmIdentifier(new ASN1ObjectIdentifier("1.3.101.112")), raw);
    }

    static void messages(AlgorithmIdentifier sha256, AlgorithmIdentifier hmac, CertTemplate template, CertTemplate small) throws Exception {
        byte[] some = {1, 2, 3};
        DEROctetString octets = new DEROctetString(some);
        ASN1ObjectIdentifier odd = new ASN1ObjectIdentifier("1.3.6.1.4.1.55555.1");
        AttributeTypeAndValue[] pairs = {new AttributeTypeAndValue(odd, octets)};
        Controls controls = new Controls(new AttributeTypeAndValue(CMCObjectIdentifiers.id_cmc_popLinkWitnessV2, new PopLinkWitnessV2(sha256, hmac, some)));
        GeneralName sender = new GeneralName(GeneralName.rfc822Name, "a@b.example");
        PKMACValue mac = new PKMACValue(hmac, new DERBitString(some));
        DERBitString signature = new DERBitString(some);
        ProofOfPossession[] proofs = {null, new ProofOfPossession(), new ProofOfPossession(new POPOSigningKey(null, sha256, signature)),
            new ProofOfPossession(new POPOSigningKey(new POPOSigningKeyInput(sender, key()), sha256, signature)),
            new ProofOfPossession(new POPOSigningKey(new POPOSigningKeyInput(mac, key()), sha256, signature)),
            new ProofOfPossession(ProofOfPossession.TYPE_KEY_ENCIPHERMENT, new POPOPrivKey(SubsequentMessage.challengeResp)),
            new ProofOfPossession(ProofOfPossession.TYPE_KEY_AGREEMENT, new POPOPrivKey(SubsequentMessage.encrCert)),
            new ProofOfPossession(ProofOfPossession.TYPE_KEY_AGREEMENT, new POPOPrivKey(mac))};
        for (ProofOfPossession p : proofs) {
            made("CertReqMsg", new CertReqMsg(new CertRequest(77, template, controls), p, pairs));
        }
        CertReqMsg crmf = new CertReqMsg(new CertRequest(78, small, null), proofs[5], null);
        made("CertReqMsg", crmf);
        AlgorithmIdentifier ed = new AlgorithmIdentifier(new ASN1ObjectIdentifier("1.3.101.112"));
        CertificationRequest pkcs10 = new CertificationRequest(small.getSubject(), ed, new DERBitString(new byte[32]), new DERSet(), ed, signature);
        TaggedRequest tcr = new TaggedRequest(new TaggedCertificationRequest(part(79), pkcs10)), crm = new TaggedRequest(crmf);
        TaggedRequest orm = TaggedRequest.getInstance(new DERTaggedObject(false, 2, new DERSequence(new ASN1Encodable[] {part(80), odd, octets})));
        made("TaggedRequest", tcr);
        made("TaggedRequest", crm);
        made("TaggedRequest", orm);
        ContentInfo data = new ContentInfo(org.bouncycastle.asn1.cms.CMSObjectIdentifiers.data, octets);
        made("encryptedPOP", new EncryptedPOP(crm, data, hmac, sha256, some));
        made("encryptedPOP", new EncryptedPOP(tcr, data, hmac, sha256, some));
        made("decryptedPOP", new DecryptedPOP(part(78), hmac, some));
        made("unsignedData", new CMCUnsignedData(new BodyPartPath(parts(1, 2)), odd, octets));
        TaggedAttribute[] attributes = {new TaggedAttribute(part(1), CMCObjectIdentifiers.id_cmc_senderNonce, new DERSet(octets)),
            new TaggedAttribute(part(2), odd, new DERSet(new ASN1Encodable[] {octets, new ASN1Integer(1)}))};
        TaggedContentInfo[] nested = {new TaggedContentInfo(part(3), data)};
        OtherMsg[] others = {new OtherMsg(part(4), odd, octets)};
        made("PKIData", new PKIData(attributes, new TaggedRequest[] {tcr, crm, orm}, nested, others));
        made("PKIData", new PKIData(new TaggedAttribute[0], new TaggedRequest[0], new TaggedContentInfo[0], new OtherMsg[0]));
        made("PKIResponse", PKIResponse.getInstance(new DERSequence(new ASN1Encodable[] {new DERSequence(attributes), new DERSequence(nested), new DERSequence(others)})));
    }
}
